"""``bsbatch-build card``: write a model card."""

from pathlib import Path
from typing import Annotated

import typer

from bsbatch.cli.terminal import Terminal


def card(
    model: Annotated[Path, typer.Argument(help="Model directory (bsbatch-build export).", show_default=False)],
    *,
    evaluation: Annotated[
        Path | None, typer.Option(help="metrics.json of bsbatch evaluate, or its folder.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the card.", show_default="the model directory")] = None,
) -> None:
    """Write card.md and card.json: purpose, training, metrics and limits, with the CLAIM and STARD checklists.

    A checklist item stays open if neither manifest nor evaluation answers it.
    """
    from bsbatch_build.card.make import CardSettings, make_card

    card = make_card(CardSettings(model, evaluation, out))
    Terminal().print("\n".join(card.summary()), soft_wrap=True, highlight=False, markup=False)
