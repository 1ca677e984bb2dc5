"""``bsbatch-build verify``: compare the backends with Keras."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from bsbatch.cli.terminal import Terminal
from bsbatch.config import OFFERED_BACKENDS
from bsbatch.notice import SENTENCE


def verify(
    model: Annotated[Path, typer.Argument(help="Model directory (bsbatch-build export).", show_default=False)],
    *,
    examinations: Annotated[int, typer.Option(help="Number of golden examinations, phantoms of centre C.")] = 16,
    seed: Annotated[int, typer.Option(help="Seed of the phantoms.")] = 0,
    backend: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help=f"{', '.join(OFFERED_BACKENDS[1:])}; repeat for several.",
            show_default="all that are installed",
        ),
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write the differences to this file, too.", show_default=False)
    ] = None,
) -> None:
    """Compare every backend with the Keras network on golden examinations.

    Probabilities may differ by 1e-5 at fp32 and by 5e-3 at fp16, distances from the training data by 1e-3 and 1e-2 of
    themselves, and no label may flip away from the threshold.
    Exit codes: 0 all agree, 2 one differs or the model cannot be used, 4 a backend died.
    """
    from bsbatch_build.checks.verify import VerifySettings
    from bsbatch_build.checks.verify import verify as verify_model
    from bsbatch_build.files import write_json

    settings = VerifySettings(model, examinations, seed, tuple(backend or ()))
    with _progress() as progress:
        task = progress.add_task("reading the model", total=settings.steps)
        report = verify_model(settings, lambda name: progress.update(task, advance=1, description=name))
    if json is not None:
        write_json(json, report.content())
    console = Terminal()
    console.print("\n".join(report.summary()), soft_wrap=True, highlight=False, markup=False)
    console.print(_table(report.rows()))
    for name in report.not_for:
        console.print(f"{name} is for graphs of another kind and was left out.", highlight=False)
    notes = (
        "Distance: the largest difference as a share. "
        "Flips: labels that differ; after the +, those of scores within the tolerance of the threshold."
    )
    console.print(notes, highlight=False, style="dim")
    console.print(SENTENCE, style="dim")
    report.check()


def _progress() -> Progress:
    console = Terminal(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)


def _table(rows: Iterable[tuple[bool, list[str]]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("backend", no_wrap=True)
    for name in ("precision", "largest", "tolerance", "distance", "flips", "AUC", "verdict"):
        table.add_column(name, justify="right", no_wrap=True)
    for agrees, (*cells, verdict) in rows:
        style = "green" if agrees else "bold red"
        table.add_row(*cells, f"[{style}]{verdict}[/]")
    return table
