"""``bsbatch-build inspect``: contact sheets and histogram statistics of a phantom set."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from bsbatch.cli.terminal import Terminal
from bsbatch.errors import UsageError


def inspect(
    set_folder: Annotated[Path, typer.Argument(help="Folder of bsbatch-build phantom.")],
    out: Annotated[Path, typer.Argument(help="Folder for the sheets and statistics.md.")],
    reference: Annotated[Path | None, typer.Option(help="A real DICOM scan to show and measure beside.")] = None,
    each: Annotated[int, typer.Option(min=1, help="Positives on each sheet, and as many negatives.")] = 3,
) -> None:
    """Draw a set of phantoms beside a real scan, and compare their statistics."""
    from bsbatch_build.phantom.sheet import inspect_set
    from bsbatch_build.phantom.statistics import HEADER

    try:
        inspection = inspect_set(set_folder, out, reference, each)
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from error
    table = Table(*HEADER)
    for row in inspection.rows:
        table.add_row(*row)
    console = Terminal()
    console.print(table if console.is_terminal else inspection.table, soft_wrap=True)
    for path in inspection.sheets:
        console.print(str(path), soft_wrap=True)
