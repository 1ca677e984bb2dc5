"""The Parquet files ("parts") of a table, read and written whole."""

import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bsbatch.errors import OutputError
from bsbatch.host.files import open_plain, replace_file
from bsbatch.store.tables import Row

_COMPRESSION = "zstd"
_NAME = re.compile(r"part-\d+\.parquet")
Out = TypeVar("Out")


def parts_in(folder: Path) -> list[Path]:
    """Paths of the committed parts of a table, in the order of their numbers."""
    return sorted(path for path in folder.glob("part-*.parquet") if _NAME.fullmatch(path.name))


def foreign_files_in(folder: Path) -> list[Path]:
    """Paths of other files that readers of the table would mistake for parts."""
    return sorted(path for path in folder.glob("[!.]*.parquet") if not _NAME.fullmatch(path.name))


def number_of(part: Path) -> int:
    """Return the number in a part's name."""
    return int(part.stem.split("-")[1])


def write_part(folder: Path, number: int, rows: pa.Table) -> None:
    """Write a part whole or not at all.

    Raises
    ------
    OSError
        The folder cannot be written to.
    """
    content, name = pa.BufferOutputStream(), f"part-{number:06d}.parquet"
    pq.write_table(rows, content, compression=_COMPRESSION)
    with replace_file(folder / name) as aside:
        aside.write_bytes(content.getvalue())


def keep_rows(part: Path, is_kept: Callable[[Row], bool], columns: list[str]) -> None:
    """Remove rows from a part; delete the part if no row is left.

    Parameters
    ----------
    part
        A committed part.
    is_kept
        Takes the named columns of a row; returns True if the row stays.
    columns
        The columns that ``is_kept`` needs.

    Raises
    ------
    OutputError
        The part cannot be read.
    OSError
        The part cannot be written.
    """
    mask = [is_kept(row) for row in read_rows(part, columns)]
    if all(mask):
        return
    if any(mask):
        write_part(part.parent, number_of(part), read_part(part).filter(pa.array(mask)))
    else:
        part.unlink()


def remove_leftovers(folder: Path) -> None:
    """Remove the unfinished parts of a killed run, see `bsbatch.host.files.replace_file`."""
    for leftover in folder.glob(".part-*"):
        leftover.unlink()


def read_rows(part: Path, columns: list[str]) -> list[Row]:
    """Read some columns of a part.

    Raises
    ------
    OutputError
        The part cannot be read.
    """
    rows: list[Row] = _read(lambda stream: _table(stream, columns), part).to_pylist()
    return rows


def all_rows(folder: Path, columns: list[str]) -> Iterator[Row]:
    """Yield the rows of all parts of a table, with some of their columns."""
    for part in parts_in(folder):
        yield from read_rows(part, columns)


def selected_rows(folder: Path, columns: list[str], exam_ids: Collection[str]) -> Iterator[Row]:
    """Yield the rows of some examinations, with some of their columns; no value of other rows becomes an object."""
    wanted = pa.array(sorted(exam_ids), pa.string())
    for part in parts_in(folder):
        rows = _read(lambda stream: _table(stream, ["exam_id", *columns]), part)
        yield from rows.filter(pc.is_in(rows["exam_id"], wanted)).to_pylist()


def read_part(part: Path) -> pa.Table:
    """Read a part with all its columns.

    Raises
    ------
    OutputError
        It cannot be read.
    """
    return _read(_table, part)


def read_table(folder: Path) -> pa.Table | None:
    """Read all parts of a table, with all columns; None if there are none.

    Raises
    ------
    OutputError
        A part cannot be read.
    """
    parts = [read_part(part) for part in parts_in(folder)]
    return pa.concat_tables(parts) if parts else None


def metadata_of(part: Path) -> dict[str, str]:
    """Read the metadata of a part's schema, see `bsbatch.store.tables.schema_of`.

    Raises
    ------
    OutputError
        The part cannot be read.
    """
    metadata = _read(pq.read_schema, part).metadata or {}
    return {name.decode(): value.decode("utf-8", "replace") for name, value in metadata.items()}


def _table(stream: pa.NativeFile, columns: list[str] | None = None) -> pa.Table:
    """Read a table in this thread alone.

    An Arrow thread that still holds a Python file aborts or hangs the exit of the process: apache/arrow issue 50482.
    """
    file = pq.ParquetFile(stream, pre_buffer=False)
    if b"bsbatch.config_hash" not in (file.schema_arrow.metadata or {}):
        raise ValueError("not written by bsbatch")
    return file.read(columns, use_threads=False)


def _read(reader: Callable[[pa.NativeFile], Out], part: Path) -> Out:
    """Read a part from memory.

    Of a path, pyarrow would expand ``~``, treat ``s3:/...`` as an address and reject bytes that are not UTF-8.
    """
    try:
        with open_plain(part) as stream:
            return reader(pa.BufferReader(stream.read()))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise OutputError(f"{part} cannot be read: delete it to have its examinations done again") from error
