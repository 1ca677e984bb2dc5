"""Excel workbooks (.xlsx), read with openpyxl: values of cells, never formulas."""

import io
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from bsbatch.errors import UsageError
from bsbatch.host import limits
from bsbatch.requirements import require

_INFLATED = 8 * limits.LABEL_BYTES
"""Bytes of all parts of a workbook, inflated."""


def read_workbook(
    path: Path, content: bytes, sheet: str | None
) -> tuple[str, Iterator[tuple[int, tuple[object, ...]]]]:
    """Return the name of a sheet, and its rows with their numbers from 1.

    Raises
    ------
    UsageError
        It is no workbook, inflates to too much, has no such sheet, or has several filled ones and none is named.
    MissingPackageError
        openpyxl is not installed.
    """
    require("openpyxl", extra="cohort")
    import openpyxl  # noqa: PLC0415 - of an extra

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as parts:
            inflated = sum(part.file_size for part in parts.infolist())
        if inflated > _INFLATED:
            raise UsageError(f"{path} inflates to more than {_INFLATED} bytes: save the sheet alone")
        with warnings.catch_warnings(action="ignore"):  # of styles and validations that openpyxl does not know
            book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
            with closing(book):
                sheets = {each.title: list(_rows(each)) for each in book.worksheets if sheet in {None, each.title}}
    except UsageError:
        raise
    except Exception as error:  # damaged workbooks raise nearly everything
        raise UsageError(f"{path} is not a workbook that can be read ({type(error).__name__}): save it anew") from error
    filled = [title for title, rows in sheets.items() if rows] if sheet is None else list(sheets)
    if len(filled) != 1:
        names = ", ".join(map(repr, filled or book.sheetnames))
        raise UsageError(f"{path} has the sheets {names}: name one with --sheet")
    return filled[0], iter(sheets[filled[0]])


def _rows(sheet: object) -> Iterator[tuple[int, tuple[object, ...]]]:
    for line, row in enumerate(sheet.iter_rows(values_only=True), 1):  # type: ignore[attr-defined]  # of an extra
        if line > limits.LABEL_LINES:
            raise UsageError(f"a sheet has more than {limits.LABEL_LINES} rows: join it in parts")
        if any(cell is not None for cell in row):
            yield line, row
