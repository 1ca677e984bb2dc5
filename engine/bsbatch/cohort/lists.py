"""Lists of studies: one value a line, or a column of a cohort or worklist."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bsbatch.cohort.joining import known_columns
from bsbatch.cohort.tables import read_table
from bsbatch.errors import UsageError
from bsbatch.host.files import read_plain

_LIST_BYTES, _LONGEST_VALUE = 1 << 26, 64
"""Bytes of a list, and characters of a value: LO, PS3.5 section 6.2."""
_NO_VALUE = frozenset("\\*?")
"""Separator of values, and wildcards, PS3.4 C.2.2.2.4: they would find other patients."""
_UID = "study_uid"


def read_list(path: Path) -> tuple[str, ...]:
    """Read a list of values, one a line; empty lines and repetitions are dropped.

    Raises
    ------
    UsageError
        The file cannot be read, holds no value, or one that no attribute can have.
    """
    try:
        text = read_plain(path, _LIST_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path} as text, one value a line, in UTF-8") from error
    values = tuple(dict.fromkeys(filter(None, map(str.strip, text.splitlines()))))
    for number, value in enumerate(values, 1):
        if len(value) > _LONGEST_VALUE or not _NO_VALUE.isdisjoint(value) or not value.isprintable():
            raise UsageError(f"value {number} of {path} has more than {_LONGEST_VALUE} characters, or one of \\ * ?")
    if not values:
        raise UsageError(f"{path} holds no value")
    return values


def read_studies(path: Path) -> tuple[str, ...]:
    """Read Study Instance UIDs: from ``.parquet``, ``.csv`` and ``.xlsx`` their column, else one a line.

    Raises
    ------
    UsageError
        The file cannot be read, has no such column, or names no study.
    """
    kind = path.suffix.lower()
    if kind in {".html", ".htm"}:
        raise UsageError(f"{path} is a page: give the worklist as .xlsx or .csv, or the cohort as .parquet")
    if kind == ".parquet":
        found = _column_of(path)
    elif kind in {".csv", ".xlsx"}:
        table = read_table(path)
        columns = known_columns(table, "study")
        if len(columns) != 1:
            raise UsageError(f"{path} has no column study_uid, or several; it has {table.header}")
        found = table.texts(columns[0])
    else:
        found = list(read_list(path))
    studies = tuple(dict.fromkeys(filter(None, found)))
    if not studies:
        raise UsageError(f"{path} names no study")
    return studies


def _column_of(path: Path) -> list[str]:
    """Read one column: heat maps beside it may have gigabytes."""
    try:
        column = pq.read_table(path, columns=[_UID])
        return [str(value or "") for value in column.column(_UID).to_pylist()]
    except (pa.ArrowException, OSError, KeyError) as error:
        raise UsageError(f"{path} is no Parquet file with the column {_UID} ({type(error).__name__})") from error
