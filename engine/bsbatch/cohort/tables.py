"""Tables as people keep them: CSV with any separator and usual encoding, workbooks, Parquet. Cells become texts."""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from bsbatch.cohort.workbook import read_workbook
from bsbatch.errors import UsageError
from bsbatch.host import limits
from bsbatch.host.files import read_plain
from bsbatch.host.spreadsheet import unprotect

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tabulator", "|": "bar"}
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_SEPARATOR_LINE = "sep="
"""Begin of a first line in which Excel is given the separator."""


class TableRow(NamedTuple):
    """One row that is not empty."""

    line: int
    """Its line in the file, from 1; of Parquet its row, with the header as the first."""
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts."""

    path: Path
    form: str
    """Encoding and separator, or the sheet, for people."""
    columns: tuple[str, ...]
    """The header."""
    rows: tuple[TableRow, ...]

    def index_of(self, column: str) -> int:
        """Return the position of a column by its heading, whose case and blanks do not count.

        Raises
        ------
        UsageError
            There is none, or there are several.
        """
        found = [at for at, name in enumerate(self.columns) if _heading(name) == _heading(column)]
        if len(found) != 1:
            fault = f"has {len(found)} columns" if found else "has no column"
            raise UsageError(f"{self.path} {fault} {column!r}; its header is {self.header}")
        return found[0]

    @property
    def header(self) -> str:
        """The headings, for messages."""
        return ", ".join(map(repr, filter(None, self.columns)))

    def texts(self, at: int) -> list[str]:
        """Return the cells of a column by its position."""
        return [row.cells[at] for row in self.rows]


def read_table(path: Path, sheet: str | None = None) -> Table:
    """Read a table by the suffix of its name: ``.xlsx``, ``.parquet``, and everything else as CSV.

    Raises
    ------
    UsageError
        It is absent, too large, or no such table; or a workbook of several sheets, none of which is named.
    """
    kind = path.suffix.lower()
    if sheet is not None and kind != ".xlsx":
        raise UsageError(f"--sheet needs a workbook (.xlsx), and {path} is none")
    try:
        content = read_plain(path, limits.LABEL_BYTES)
    except OSError as error:
        raise UsageError(f"cannot read the table {path}: {error.strerror or error}") from error
    if kind == ".xlsx":
        name, cells = read_workbook(path, content, sheet)
        return _table(path, f"sheet {name!r}", ((line, list(map(_text, row))) for line, row in cells))
    if kind == ".parquet":
        return _table(path, "Parquet", _parquet_rows(path, content))
    encoding, text = _decode(path, content)
    separator, rows = _csv_rows(path, text)
    return _table(path, f"{encoding}, separated by {SEPARATORS[separator]}", rows)


def _table(path: Path, form: str, rows: Iterable[tuple[int, list[str]]]) -> Table:
    """Take the first row that is not empty as the header; cells beyond it must be empty."""
    filled = ((line, cells) for line, cells in rows if any(cells))
    _, header = next(filled, (0, []))
    if not any(header):
        raise UsageError(f"{path} is empty: it needs a header and a row for each study")
    return Table(path, form, tuple(header), tuple(_row(path, line, cells, len(header)) for line, cells in filled))


def _row(path: Path, line: int, cells: list[str], width: int) -> TableRow:
    if line > limits.LABEL_LINES:
        raise UsageError(f"{path} has more than {limits.LABEL_LINES} lines: join it in parts")
    if any(cells[width:]):
        raise UsageError(f"line {line} of {path} has {len(cells)} fields and the header has {width}")
    return TableRow(line, (*cells[:width], *[""] * (width - len(cells))))


def _heading(name: str) -> str:
    return " ".join(name.split()).casefold()


def _decode(path: Path, content: bytes) -> tuple[str, str]:
    """Return encoding and text: a byte order mark decides, else zero bytes, else UTF-8 where it is valid.

    Windows-1252 is the last resort, and refuses the five bytes that it lacks.
    """
    marked = next((name for mark, name in _BOMS if content.startswith(mark)), None)
    zeros = content[1:512:2].count(0), content[:512:2].count(0)
    guess = "utf-16-le" if zeros[0] > zeros[1] else "utf-16-be" if zeros[1] else None
    for encoding in [name for name in (marked, guess) if name] or ["utf-8", "cp1252"]:
        try:
            return encoding.upper().removesuffix("-SIG"), content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise UsageError(f"{path} is no text in UTF-8, UTF-16 or Windows-1252: save it as a CSV file in UTF-8")


def _csv_rows(path: Path, text: str) -> tuple[str, list[tuple[int, list[str]]]]:
    """Return the separator and the rows: of the separators that divide the header, the one that divides all rows alike.

    A line ``sep=;`` of Excel decides. Rows must be as long as the header.
    """
    first, _, rest = text.partition("\n")
    named = first.rstrip("\r")[len(_SEPARATOR_LINE) :] if first.lower().startswith(_SEPARATOR_LINE) else ""
    if named in SEPARATORS:
        return named, _try(rest, named, 2)
    parsed = {mark: rows for mark in SEPARATORS if (rows := _try(text, mark))}
    widths = {mark: {len(row) for _, row in rows if any(row)} for mark, rows in parsed.items()}
    even = [mark for mark, found in widths.items() if len(found) == 1 and found != {1}]
    most = max((max(widths[mark]) for mark in even), default=0)
    best = [mark for mark in even if max(widths[mark]) == most]
    if len(best) == 1:
        return best[0], parsed[best[0]]
    if best:
        names = " and ".join(SEPARATORS[mark] for mark in best)
        raise UsageError(f"{path} can be separated by {names}: write sep=; or another separator into its first line")
    raise UsageError(f"{path} is no table: {_fault(parsed)}")


def _try(text: str, separator: str, first: int = 1) -> list[tuple[int, list[str]]]:
    """Parse a text whose first line has this number; without a row if its quotation marks are wrong."""
    try:
        return list(_parse(text, separator, first))
    except csv.Error:
        return []


def _fault(parsed: dict[str, list[tuple[int, list[str]]]]) -> str:
    """Name the first line that has another number of fields than the header, whose separator divides it most."""
    heads = {mark: next((len(row) for _, row in rows if any(row)), 0) for mark, rows in parsed.items()}
    mark = max(heads, key=heads.__getitem__, default="")
    if heads.get(mark, 0) < 2:  # noqa: PLR2004 - a key and a label
        return "no comma, semicolon, tabulator or bar divides its header"
    line, count = next((line, len(row)) for line, row in parsed[mark] if any(row) and len(row) != heads[mark])
    return f"line {line} has {count} fields and the header has {heads[mark]}, separated by {SEPARATORS[mark]}"


def _parse(text: str, separator: str, first: int) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = first
    for fields in reader:
        yield line, [unprotect(field.strip()) for field in fields]
        line = reader.line_num + first


def _parquet_rows(path: Path, content: bytes) -> Iterator[tuple[int, list[str]]]:
    try:
        table = pq.ParquetFile(pa.BufferReader(content))
        if table.metadata.num_rows > limits.LABEL_LINES:
            raise UsageError(f"{path} has more than {limits.LABEL_LINES} rows: join it in parts")
        rows = table.read()
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"{path} is not a Parquet file: {type(error).__name__}") from error
    yield 1, list(rows.column_names)
    columns = [column.to_pylist() for column in rows.columns]
    for number in range(rows.num_rows):
        yield number + 2, [_text(column[number]) for column in columns]


def _text(cell: object) -> str:
    """Return a cell as text: whole numbers without a point, dates as YYYY-MM-DD."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, datetime) and cell.time() == time():
        cell = cell.date()
    if isinstance(cell, date):
        return str(cell)
    return unprotect(str(cell).strip())
