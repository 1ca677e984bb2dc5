"""The label file: one row for each study, checked before anything is computed.

A CSV file in UTF-8, separated by commas, with a header. The columns ``study_uid`` and ``label`` (0 or 1) are required;
``patient_id``, ``centre``, ``split``, ``lesions``, ``sex`` and ``age`` are optional, and any column that ``--by``
names. Every other one is refused, because a misspelt ``patient_id`` would silently change the unit of resampling.
Repeated rows that agree are counted; rows that contradict one another are refused.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path

from bsbatch.cohort.examined import read_examined
from bsbatch.cohort.joining import Joined, Unjoined, join
from bsbatch.cohort.settings import LabelTable
from bsbatch.errors import UsageError
from bsbatch.evaluation.results import out_of
from bsbatch.host import limits
from bsbatch.host.files import read_plain
from bsbatch.host.spreadsheet import unprotect

REQUIRED = ("study_uid", "label")
OPTIONAL = ("patient_id", "centre", "split", "lesions", "sex", "age")
_MOST_LESIONS, _MOST_YEARS = 100_000, 130


@dataclass(frozen=True, slots=True)
class Label:
    """Label of one study."""

    study_uid: str
    is_positive: bool
    patient_id: str | None = None
    """None if the file has no such column."""
    centre: str | None = None
    split: str | None = None
    lesions: int | None = None
    """Number of lesions, 0 or more."""
    sex: str | None = None
    age: int | None = None
    """Years."""
    others: tuple[str | None, ...] = ()
    """Values of the columns that ``--by`` names, in its order."""


@dataclass(frozen=True, slots=True)
class LabelFile:
    """The labels, each study once."""

    labels: dict[str, Label]
    """Study Instance UID -> label, in the order of the file."""
    columns: tuple[str, ...]
    """The header."""
    repeated: int
    """Rows that repeat an earlier one."""
    unjoined: tuple[Unjoined, ...] = ()
    """Rows of another table that label no study (`bsbatch.cohort.joining`)."""

    @property
    def has_patients(self) -> bool:
        """True if the file assigns studies to patients."""
        return "patient_id" in self.columns


def labels_for(results: Path, path: Path, table: LabelTable | None, by: Sequence[str] = ()) -> LabelFile:
    """Read the labels of a run: a label file, or with `table` a table of another form, joined with the results.

    Raises
    ------
    UsageError
        As `read_labels` and `joined_labels`.
    """
    if table is None:
        return read_labels(path, by)
    return joined_labels(join(table, read_examined(out_of(results)), by), by)


def read_labels(path: Path, by: Sequence[str] = ()) -> LabelFile:
    """Read and check a label file, with the columns `by` that it may have beside those of `OPTIONAL`.

    Raises
    ------
    UsageError
        The file is absent or unreadable; or has a wrong header, an invalid row, rows that contradict one another, no
        row, or rows of one class only. The message names the lines.
    """
    columns, rows = _table(path, by)
    lines: dict[str, int] = {}
    labels: dict[str, Label] = {}
    repeated = 0
    for line, row in rows:
        label = _label(path, line, row, by)
        earlier = labels.setdefault(label.study_uid, label)
        if earlier != label:
            raise UsageError(
                f"lines {lines[label.study_uid]} and {line} of {path} contradict each other: the same study_uid with "
                f"another {_difference(earlier, label)}. Keep the right one"
            )
        repeated += label.study_uid in lines
        lines.setdefault(label.study_uid, line)
    _check_classes(path, labels.values())
    return LabelFile(labels, columns, repeated)


def joined_labels(joined: Joined, by: Sequence[str] = ()) -> LabelFile:
    """Return the labels of a table that was joined with a run, with its columns `by` and those of `OPTIONAL`.

    Parameters
    ----------
    joined
        The table beside the run.
    by
        As for `read_labels`. ``patient_id`` is not among `OPTIONAL` here: the results know the patients.

    Raises
    ------
    UsageError
        No row was joined, or rows of one class only; or a column is missing.
    """
    table, path = joined.table, joined.settings.path
    if not joined.rows:
        raise UsageError(f"no row of {path} could be joined with an examination: --dry-run lists the causes")
    known = [name for name in OPTIONAL[1:] if [column.casefold() for column in table.columns].count(name) == 1]
    places, others = {name: table.index_of(name) for name in known}, [table.index_of(name) for name in by]
    labels = {}
    for row in joined.rows:
        cells = {name: row.cells[at] or None for name, at in places.items()}
        place = f"line {row.line} of {path}"
        labels[row.study_uid] = Label(
            row.study_uid,
            row.is_positive,
            centre=cells.get("centre"),
            split=cells.get("split"),
            lesions=_whole(f"{place}: lesions", cells.get("lesions"), _MOST_LESIONS),
            sex=cells.get("sex"),
            age=_whole(f"{place}: age", cells.get("age"), _MOST_YEARS),
            others=tuple(row.cells[at] or None for at in others),
        )
    _check_classes(path, labels.values())
    return LabelFile(labels, (*REQUIRED, *known, *by), joined.repeated, joined.unjoined)


def _table(path: Path, by: Sequence[str]) -> tuple[tuple[str, ...], list[tuple[int, dict[str, str]]]]:
    """Read the header, and (line, row) for each row that is not empty."""
    try:
        content = BytesIO(read_plain(path, limits.LABEL_BYTES))
        with TextIOWrapper(content, encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            columns = tuple(name.strip() for name in next(reader, []))
            _check_header(path, columns, by)
            return columns, list(_rows(path, columns, reader))
    except OSError as error:
        raise UsageError(f"cannot read the labels {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not text in UTF-8: save it as a CSV file in UTF-8") from error
    except csv.Error as error:
        raise UsageError(f"{path} is not a CSV file: {error}") from error


def _check_header(path: Path, columns: tuple[str, ...], by: Sequence[str]) -> None:
    wanted = (
        f"the header must be {','.join(REQUIRED)} and optionally {','.join(OPTIONAL)}, separated by commas; "
        "--by NAME admits another column"
    )
    if not any(columns):
        raise UsageError(f"{path} is empty: {wanted}")
    missing = [name for name in (*REQUIRED, *by) if name not in columns]
    unknown = [name for name in columns if name not in (*REQUIRED, *OPTIONAL, *by)]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    found = [("lacks", missing), ("has the unknown column", unknown), ("has twice", twice)]
    faults = [f"{words} {', '.join(map(repr, names))}" for words, names in found if names]
    if faults:
        raise UsageError(f"the header of {path} {' and '.join(faults)}: {wanted}")


def _rows(path: Path, columns: tuple[str, ...], reader: Iterable[list[str]]) -> Iterator[tuple[int, dict[str, str]]]:
    line = 1
    for fields in reader:
        line = getattr(reader, "line_num", line + 1)
        if line > limits.LABEL_LINES:
            raise UsageError(f"{path} has more than {limits.LABEL_LINES} lines: evaluate it in parts")
        if not any(field.strip() for field in fields):
            continue
        if len(fields) != len(columns):
            raise UsageError(f"line {line} of {path} has {len(fields)} fields and the header has {len(columns)}")
        yield line, {name: unprotect(field.strip()) for name, field in zip(columns, fields, strict=True)}


def _label(path: Path, line: int, row: dict[str, str], by: Sequence[str]) -> Label:
    if not row["study_uid"]:
        raise UsageError(f"line {line} of {path} has no study_uid")
    if row["label"] not in {"0", "1"}:
        raise UsageError(f"line {line} of {path}: the label must be 0 (no metastasis) or 1 (metastasis)")
    if row.get("patient_id") == "":
        raise UsageError(
            f"line {line} of {path} has no patient_id: fill the column for every study, or leave it out to count "
            "each study as a patient of its own"
        )
    return Label(
        row["study_uid"],
        row["label"] == "1",
        row.get("patient_id"),
        row.get("centre") or None,
        row.get("split") or None,
        _whole(f"line {line} of {path}: lesions", row.get("lesions"), _MOST_LESIONS),
        row.get("sex") or None,
        _whole(f"line {line} of {path}: age", row.get("age"), _MOST_YEARS),
        tuple(row[name] or None for name in by),
    )


def _whole(place: str, text: str | None, most: int) -> int | None:
    if not text:
        return None
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(most))
    if not is_number or int(text) > most:
        raise UsageError(f"{place} must be a whole number from 0 to {most}, or empty if unknown")
    return int(text)


def _difference(one: Label, other: Label) -> str:
    names = {"is_positive": "label", "others": "value of a column that --by names"}
    return " and ".join(names.get(name, name) for name in Label.__slots__ if getattr(one, name) != getattr(other, name))


def _check_classes(path: Path, labels: Iterable[Label]) -> None:
    classes = {label.is_positive for label in labels}
    if not classes:
        raise UsageError(f"{path} has a header and no row: add a row for each study")
    if len(classes) == 1:
        raise UsageError(f"every study in {path} is labelled {int(classes.pop())}: an evaluation needs both classes")
