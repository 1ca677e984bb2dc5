"""The Parquet files of a table: read whole, written aside, flushed to the disk and renamed."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bsbatch.errors import OutputError
from bsbatch.host.files import replace_file
from bsbatch.store.tables import Row

_COMPRESSION = "zstd"
_NAME = re.compile(r"part-\d+\.parquet")


def parts_in(folder: Path) -> list[Path]:
    """The committed parts of a table, in the order of their numbers."""
    return sorted(path for path in folder.glob("part-*.parquet") if _NAME.fullmatch(path.name))


def strangers_in(folder: Path) -> list[Path]:
    """Other files that readers of the table would take for parts."""
    return sorted(path for path in folder.glob("[!.]*.parquet") if not _NAME.fullmatch(path.name))


def number_of(part: Path) -> int:
    """The number in a part's name."""
    return int(part.stem.split("-")[1])


def write_part(folder: Path, number: int, rows: pa.Table) -> None:
    """Put a part in place, wholly or not at all.

    Raises
    ------
    OSError
        The folder cannot be written to.
    """
    name = f"part-{number:06d}.parquet"
    with replace_file(folder / name) as aside, aside.open("wb") as stream:
        pq.write_table(rows, stream, compression=_COMPRESSION)


def keep_rows(part: Path, is_kept: Callable[[Row], bool], columns: list[str]) -> None:
    """Take rows out of a part; the part goes with its last one.

    Parameters
    ----------
    part
        A committed part.
    is_kept
        Told the named columns of a row, says whether it stays.
    columns
        What ``is_kept`` looks at.

    Raises
    ------
    OutputError
        The part cannot be read.
    OSError
        It cannot be written.
    """
    kept = [is_kept(row) for row in read_rows(part, columns)]
    if all(kept):
        return
    if any(kept):
        write_part(part.parent, number_of(part), _read(_table, part).filter(pa.array(kept)))
    else:
        part.unlink()


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed run wrote aside."""
    for leftover in folder.glob(".part-*"):
        leftover.unlink()


def read_rows(part: Path, columns: list[str]) -> list[Row]:
    """Some columns of a part.

    Raises
    ------
    OutputError
        The part cannot be read.
    """
    rows: list[Row] = _read(lambda stream: _table(stream, columns), part).to_pylist()
    return rows


def all_rows(folder: Path, columns: list[str]) -> Iterator[Row]:
    """Some columns of all parts of a table."""
    for part in parts_in(folder):
        yield from read_rows(part, columns)


def metadata_of(part: Path) -> dict[str, str]:
    """What a part says of itself, `bsbatch.store.tables.schema_of`.

    Raises
    ------
    OutputError
        The part cannot be read.
    """
    metadata = _read(pq.read_schema, part).metadata or {}
    return {name.decode(): value.decode("utf-8", "replace") for name, value in metadata.items()}


def _table(stream: pa.NativeFile, columns: list[str] | None = None) -> pa.Table:
    """Read in this thread alone: a thread of Arrow's that still holds a file of Python's aborts or hangs an exit.

    See apache/arrow issue 50482.
    """
    return pq.ParquetFile(stream, pre_buffer=False).read(columns, use_threads=False)


def _read(reader: Callable[[pa.NativeFile], Any], part: Path) -> Any:
    """Read from memory: as a name, pyarrow would expand ``~``, take ``s3:/...`` for an address and refuse odd bytes."""
    try:
        return reader(pa.BufferReader(part.read_bytes()))
    except (OSError, ValueError) as error:  # pyarrow.ArrowInvalid is a ValueError
        raise OutputError(f"{part} cannot be read: delete it to have its examinations done again") from error
