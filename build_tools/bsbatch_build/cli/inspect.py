"""``bsbatch-build inspect``: contact sheets and histogram figures of a phantom set."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table


def inspect(
    set_folder: Annotated[Path, typer.Argument(help="A folder that phantom made.")],
    out: Annotated[Path, typer.Argument(help="Folder for the sheets and statistics.md.")],
    reference: Annotated[Path | None, typer.Option(help="A real DICOM scan to show and measure beside.")] = None,
    each: Annotated[int, typer.Option(min=1, help="Positives, and negatives, on each sheet.")] = 3,
) -> None:
    """Show a set of phantoms beside a real scan, and its figures beside real ones."""
    sheet = importlib.import_module("bsbatch_build.phantom.sheet")
    statistics = importlib.import_module("bsbatch_build.phantom.statistics")
    try:
        inspection = sheet.inspect_set(set_folder, out, reference, each)
    except (ValueError, OSError) as error:
        Console(stderr=True, soft_wrap=True).print(f"Error: {error}", markup=False)
        raise typer.Exit(2) from error
    table = Table(*statistics.HEADER)
    for row in inspection.rows:
        table.add_row(*row)
    console = Console()
    console.print(table if console.is_terminal else inspection.table, soft_wrap=True)
    for path in inspection.sheets:
        console.print(str(path), soft_wrap=True)
