"""``bsbatch-build compile``: what the GPU runs, made of a model directory."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bsbatch.registry import load


def compile_(
    model: Annotated[Path, typer.Argument(help="Model directory (bsbatch-build export).", show_default=False)],
) -> None:
    """Rewrite a model for float16 and hold it against float32 on golden examinations.

    A weight or activation beyond float16, a probability that changes by more than 5e-3 or a label that flips away from
    the threshold is refused with exit code 2.
    """
    loaded = load("bsbatch.model:Model").load(model, load("bsbatch.preprocess:VERSION"))
    precision = load("bsbatch_build.precision:half_graph")
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("reading the model", total=load("bsbatch_build.precision:STEPS"))
        made = precision(loaded, lambda what: progress.update(task, advance=1, description=what))
    _show(Console(emoji=False), loaded, made)


def _show(console: Console, model: Any, made: Any) -> None:
    rounding = made.rounding
    lines = (
        f"model       {model.folder}",
        f"id          {model.model_id}",
        f"fp16 graph  {made.path}",
        f"largest     {rounding.largest:,.1f} of 65,504 at {rounding.tensor}",
        f"difference  {rounding.difference:.1e} to fp32, on {rounding.examinations} golden examinations",
        "Research use only. Not a medical device.",
    )
    console.print("\n".join(lines), soft_wrap=True, highlight=False, markup=False)
