"""``bsbatch report``: one HTML page about a run."""

from pathlib import Path
from typing import Annotated

import typer

from bsbatch.cli.joins import show_join
from bsbatch.cli.label_options import (
    DryJoinOption,
    JoinOption,
    LabelOption,
    NegativeOption,
    PositiveOption,
    SheetOption,
)
from bsbatch.cli.terminal import Terminal, printable
from bsbatch.cohort.settings import LabelOptions
from bsbatch.html_report.settings import GALLERY, ReportConfig, require_packages
from bsbatch.notice import SENTENCE


def report(
    results: Annotated[
        Path, typer.Argument(help="Output folder of bsbatch run, or its results folder.", show_default=False)
    ],
    *,
    labels: Annotated[
        Path | None,
        typer.Option(help="CSV with study_uid and label, or any table with --join: adds the evaluation."),
    ] = None,
    join: JoinOption = None,
    label: LabelOption = None,
    positive: PositiveOption = None,
    negative: NegativeOption = None,
    sheet: SheetOption = None,
    dry_run: DryJoinOption = False,
    masks: Annotated[
        Path | None, typer.Option(help="Folder of lesion masks, for heat maps.", show_default=False)
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="Model directory, for its card.", show_default="the demo model, if the run used it"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write.", show_default="report.html in RESULTS")] = None,
    gallery: Annotated[int, typer.Option(help="Overlays in the page, highest scores first.")] = GALLERY,
) -> None:
    """Write one HTML file about a run: flow, scores, evaluation, examinations, heat maps over scans, warnings, model.

    It loads nothing from anywhere and contains no UID or path; dates and numbers only of a run with --identify.
    It links to the full overlays.
    Exit codes: 0 done, 2 usage (no run, or labels or model do not belong to it), 4 cannot write.
    """
    table = LabelOptions(join, label, positive or (), negative or (), sheet).table(labels)
    if dry_run:
        show_join(Terminal(), results, table)
        return
    require_packages()
    from bsbatch.html_report.page import write_page

    page = write_page(ReportConfig(results, out, labels, masks, model, gallery, table))
    console = Terminal()
    console.print(f"Report: {printable(str(page))}", highlight=False, markup=False, soft_wrap=True)
    console.print(SENTENCE, style="dim")
