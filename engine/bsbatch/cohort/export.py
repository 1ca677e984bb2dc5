"""Writes a cohort as Parquet, CSV or an Excel workbook. No cell is a formula."""

import io
from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bsbatch.errors import OutputError, UsageError
from bsbatch.host.files import replace_file
from bsbatch.host.spreadsheet import write_csv
from bsbatch.notice import NOTICE
from bsbatch.requirements import require
from bsbatch.store.tables import OBJECTS, RESULTS

_MOST_ROWS, _LONGEST = 1_048_575, 32_767
"""Rows of a sheet beside its header, and characters of a cell."""
_WIDEST = 40
_NO_CELLS = frozenset({"cam_map"})
"""Columns that no sheet has: a thousand numbers in a cell."""


def check_target(to: Path, out: Path) -> None:
    """Refuse a file that cannot be written, before any work.

    Raises
    ------
    UsageError
        Its suffix is unknown, or it lies in a table of the run.
    MissingPackageError
        It is a workbook and XlsxWriter is not installed.
    """
    if to.suffix.lower() not in _WRITERS:
        raise UsageError(f"--to {to} must end with {', '.join(_WRITERS)}")
    if to.suffix.lower() == ".xlsx":
        require("xlsxwriter", extra="cohort")
    refuse_target(to, out)


def refuse_target(to: Path, out: Path) -> None:
    """Refuse a folder, and a file in a table of the run.

    Raises
    ------
    UsageError
        It is one of these.
    """
    if to.is_dir():
        raise UsageError(f"{to} is a folder: --to names the file to write")
    if any(to.resolve().is_relative_to((out / table).resolve()) for table in (RESULTS, OBJECTS)):
        raise UsageError(f"{to} lies in a table of the run, where it would be read as a part: choose another --to")


def write_cohort(table: pa.Table, to: Path) -> None:
    """Write a table whole or not at all, by the suffix of its name.

    Raises
    ------
    OutputError
        The file cannot be written.
    UsageError
        It has more rows than a sheet.
    """
    write = _WRITERS[to.suffix.lower()]
    try:
        with replace_file(to) as aside:
            aside.write_bytes(write(table))
    except OSError as error:
        raise OutputError.of(to, error) from error


def _parquet(table: pa.Table) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd")
    return stream.getvalue()


def _csv(table: pa.Table) -> bytes:
    stream = io.StringIO(newline="")
    header, rows = _cells(table)
    write_csv(stream, [header, *rows])
    return stream.getvalue().encode()


def _xlsx(table: pa.Table) -> bytes:
    """Return a workbook: frozen header, filters, widths of columns; texts are written as texts."""
    import xlsxwriter  # noqa: PLC0415 - of an extra

    if table.num_rows > _MOST_ROWS:
        raise UsageError(f"a sheet has room for {_MOST_ROWS} rows: write .csv or .parquet, or select fewer")
    stream, (header, rows) = io.BytesIO(), _cells(table)
    with xlsxwriter.Workbook(stream, {"in_memory": True, "nan_inf_to_errors": True}) as book:
        book.set_properties({"comments": NOTICE})
        sheet, bold = book.add_worksheet("cohort"), book.add_format({"bold": True})
        for at, name in enumerate(header):
            sheet.write_string(0, at, name, bold)
            sheet.set_column(at, at, min(_WIDEST, max([len(name), *(len(str(row[at])) for row in rows[:100])]) + 2))
        for line, row in enumerate(rows, 1):
            for at, value in enumerate(row):
                if isinstance(value, str):
                    sheet.write_string(line, at, value[:_LONGEST])
                elif value is not None:
                    sheet.write_number(line, at, value)
        sheet.freeze_panes(1, 0)
        sheet.autofilter(0, 0, max(1, len(rows)), len(header) - 1)
    return stream.getvalue()


def _cells(table: pa.Table) -> tuple[list[str], list[list[str | float | None]]]:
    names = [name for name in table.column_names if name not in _NO_CELLS]
    columns = [[_cell(value) for value in table.column(name).to_pylist()] for name in names]
    return names, [list(row) for row in zip(*columns, strict=True)]


def _cell(value: object) -> str | float | None:
    if isinstance(value, Iterable) and not isinstance(value, str):
        return "; ".join(map(str, value))
    return value if value is None or isinstance(value, int | float) else str(value)


_WRITERS: dict[str, Callable[[pa.Table], bytes]] = {".parquet": _parquet, ".csv": _csv, ".xlsx": _xlsx}
