"""``bsbatch-build card``: a model card."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bsbatch.registry import load


def card(
    model: Annotated[Path, typer.Argument(help="Model directory (bsbatch-build export).", show_default=False)],
    *,
    evaluation: Annotated[
        Path | None, typer.Option(help="metrics.json of bsbatch evaluate, or its folder.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the card.", show_default="the model directory")] = None,
) -> None:
    """Write card.md and card.json: what a model is, is for and does, with the CLAIM and STARD checklists.

    What neither manifest nor evaluation says stays open, item by item.
    """
    settings = load("bsbatch_build.card.make:CardSettings")(model, evaluation, out)
    made = load("bsbatch_build.card.make:make_card")(settings)
    Console(emoji=False).print(_summary(made), soft_wrap=True, highlight=False, markup=False)


def _summary(made: Any) -> str:
    lines = [f"card        {made.out / 'card.md'}", f"            {made.out / 'card.json'}"]
    for checklist in made.content["checklists"]:
        counts = ", ".join(f"{count} {status}" for status, count in checklist["counts"].items())
        lines.append(f"{checklist['title']:<12}{counts}")
    if made.content["evaluation"] is None:
        lines.append("No figures: give the report of bsbatch evaluate as --evaluation.")
    return "\n".join([*lines, *made.content["notices"]])
