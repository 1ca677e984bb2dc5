"""``bsbatch-build phantom``: synthetic examinations as a DICOM archive."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bsbatch.cli.terminal import Terminal
from bsbatch.errors import UsageError


def phantom(
    out: Annotated[Path, typer.Argument(help="New or empty folder for the set.")],
    studies: Annotated[int, typer.Option(help="Number of labelled examinations.")] = 100,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal bytes.")] = 0,
    centre: Annotated[
        list[str] | None, typer.Option(metavar="<A|B|C>", help="Repeat for several.", show_default="all")
    ] = None,
    clutter: Annotated[bool, typer.Option(help="Add other objects that a PACS holds, and faulty ones.")] = True,
    containers: Annotated[
        bool, typer.Option("--containers", help="Put some studies into zips and tars, and compress some objects.")
    ] = False,
    difficulty: Annotated[
        str,
        typer.Option(metavar="<default|easy>", help="easy: bright lesions and nothing that resembles them."),
    ] = "default",
) -> None:
    """Write synthetic whole-body bone scans; not for clinical use."""
    from bsbatch_build.phantom.archive import write_set
    from bsbatch_build.phantom.plan import Difficulty, SetPlan

    console = Terminal()
    columns = (TextColumn("examinations"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        plan = SetPlan(studies, seed, tuple(centre or ("A", "B", "C")), clutter, Difficulty(difficulty), containers)
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("", total=studies)
            summary = write_set(out, plan, lambda n: progress.update(task, completed=n))
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from error
    console.print(
        f"{summary.studies} examinations ({summary.positives} with metastases) in {summary.files} files: "
        f"{summary.used} to be used, {summary.skipped} skipped, {summary.failed} failed.",
        soft_wrap=True,
    )
    console.print(
        f"{out}: archive, masks, labels.csv, expected.csv. Synthetic, not for clinical use.",
        markup=False,
        soft_wrap=True,
    )
