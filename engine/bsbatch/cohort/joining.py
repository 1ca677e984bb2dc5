"""Join of a table of labels with the studies of a run. What is ambiguous or has no partner is listed, never guessed."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import NamedTuple

from bsbatch.cohort.cells import dates_of
from bsbatch.cohort.examined import Examined, ExaminedSet
from bsbatch.cohort.settings import NAMES, Join, JoinKind, LabelTable, fold
from bsbatch.cohort.tables import Table, read_table
from bsbatch.errors import UsageError


class Cause(StrEnum):
    """Why a row of the table labels no study."""

    NO_KEY = "its key is empty"
    NO_DATE = "its date cannot be read, or in two ways"
    NO_LABEL = "its label is empty"
    UNKNOWN_LABEL = "its label is neither positive nor negative"
    NO_PARTNER = "no examination has its key"
    NEARLY = "no examination has its key; one has, but for leading zeros, blanks or case"
    OTHER_DAY = "the patient has no examination within the days"
    SEVERAL_STUDIES = "several studies have its key"
    SEVERAL_ISSUERS = "its Patient ID was issued by several institutions"
    NO_STUDY_UID = "its examination has no Study Instance UID"
    CONTRADICTION = "another row gives the same study another label or value"


class Unjoined(NamedTuple):
    """A row that labels no study."""

    line: int
    cause: Cause


class JoinedRow(NamedTuple):
    """The label of one study."""

    study_uid: str
    is_positive: bool
    line: int
    cells: tuple[str, ...]
    """The row of the table."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A table of labels beside a run."""

    settings: LabelTable
    table: Table
    rows: tuple[JoinedRow, ...]
    """One for each labelled study, in the order of the table."""
    unjoined: tuple[Unjoined, ...]
    """The other rows, by line."""
    repeated: int
    """Rows that repeat an earlier one of their study."""
    examinations: int
    """Of the run."""
    labelled: int
    """Examinations whose study has a label."""

    @property
    def positives(self) -> int:
        """Number of studies with metastasis."""
        return sum(row.is_positive for row in self.rows)

    @property
    def causes(self) -> dict[Cause, list[int]]:
        """Lines of the rows without a study, by cause."""
        found: dict[Cause, list[int]] = {}
        for line, cause in self.unjoined:
            found.setdefault(cause, []).append(line)
        return dict(sorted(found.items()))


def join(settings: LabelTable, examined: ExaminedSet, by: Sequence[str] = ()) -> Joined:
    """Read a table and join it with the examinations of a run.

    Parameters
    ----------
    settings
        The table and its key and label.
    examined
        The examinations of the run.
    by
        Headings of further columns in which rows of one study must agree.

    Raises
    ------
    UsageError
        The table cannot be read, or lacks a column.
    """
    table = read_table(settings.path, settings.sheet)
    keys = [_key_column(table, settings.join, at) for at in range(len(settings.join.keys))]
    label, others = table.index_of(settings.label), [table.index_of(column) for column in by]
    partners = _find(settings.join, [table.texts(at) for at in keys], examined)
    judged = [_judge(settings, row.cells[label]) for row in table.rows]
    merged = _merge(table, partners, judged, others)
    labelled = {row.study_uid for row in merged.rows}
    return Joined(
        settings,
        table,
        merged.rows,
        merged.unjoined,
        merged.repeated,
        len(examined.examinations),
        sum(item.study_uid in labelled for item in examined.examinations),
    )


class _Merged(NamedTuple):
    """Rows of which each study has one; see `Joined`."""

    rows: tuple[JoinedRow, ...]
    unjoined: tuple[Unjoined, ...]
    repeated: int


def _merge(
    table: Table, partners: Sequence[str | Cause], judged: Sequence[bool | Cause], others: Sequence[int]
) -> _Merged:
    """Bring together the rows of each study; those that contradict one another are left out, all of them."""
    studies: defaultdict[str, list[JoinedRow]] = defaultdict(list)
    unjoined: list[Unjoined] = []
    for row, partner, label in zip(table.rows, partners, judged, strict=True):
        if isinstance(partner, Cause):
            unjoined.append(Unjoined(row.line, partner))
        elif isinstance(label, Cause):
            unjoined.append(Unjoined(row.line, label))
        else:
            studies[partner].append(JoinedRow(partner, label, row.line, row.cells))
    rows = []
    for items in studies.values():
        if len({(item.is_positive, *(item.cells[at] for at in others)) for item in items}) == 1:
            rows.append(items[0])
        else:
            unjoined += [Unjoined(item.line, Cause.CONTRADICTION) for item in items]
    repeated = len(table.rows) - len(unjoined) - len(rows)
    return _Merged(tuple(rows), tuple(sorted(unjoined)), repeated)


def _key_column(table: Table, join: Join, at: int) -> int:
    """Return the position of a key column: as it is named, else the one with a heading that is known."""
    name, key = join.columns[at], join.keys[at]
    if name is not None:
        return table.index_of(name)
    found = known_columns(table, key)
    if len(found) != 1:
        fault = "several columns" if found else "no column"
        raise UsageError(f"{table.path} has {fault} for the {key}: name it, --join {key}=COLUMN; it has {table.header}")
    return found[0]


def known_columns(table: Table, key: str) -> list[int]:
    """Return the positions of the columns whose heading names a key (`NAMES`)."""
    return [at for at, column in enumerate(table.columns) if _letters(column) in NAMES[key]]


def _letters(heading: str) -> str:
    return "".join(filter(str.isalnum, heading.casefold()))


def _judge(settings: LabelTable, value: str) -> bool | Cause:
    if not value:
        return Cause.NO_LABEL
    is_positive = fold(value) in map(fold, settings.positive)
    is_negative = fold(value) in map(fold, settings.negative)
    return is_positive if is_positive or is_negative else Cause.UNKNOWN_LABEL


def _find(join: Join, keys: Sequence[Sequence[str]], examined: ExaminedSet) -> list[str | Cause]:
    """Return the Study Instance UID of each row, or why there is none."""
    if join.kind is JoinKind.PATIENT_AND_DATE:
        return _find_by_date(join, keys[0], dates_of(keys[1]), examined)
    if join.kind is JoinKind.STUDY:
        index = _Index(((item.study_uid, item) for item in examined.examinations), is_plain=True)
        return [_only(index.of(text, text)) for text in keys[0]]
    index = _Index(((item.accession, item) for item in examined.examinations), is_plain=examined.is_identified)
    return [_only(index.of(text, examined.accession_key(text))) for text in keys[0]]


def _find_by_date(
    join: Join, patients: Sequence[str], days: Sequence[date | None], examined: ExaminedSet
) -> list[str | Cause]:
    index = _Index(((item.patient, item) for item in examined.examinations), is_plain=examined.is_identified)
    found: list[str | Cause] = []
    for text, day in zip(patients, days, strict=True):
        candidates = index.of(text, examined.patient_key(text) if text else None)
        if isinstance(candidates, Cause) or day is None:
            found.append(candidates if isinstance(candidates, Cause) else Cause.NO_DATE)
        elif len({item.issuer for item in candidates}) > 1:
            found.append(Cause.SEVERAL_ISSUERS)
        else:
            near = [item for item in candidates if item.day and abs((item.day - day).days) <= join.days]
            found.append(_only(near or Cause.OTHER_DAY))
    return found


class _Index:
    """Examinations by key, and the keys without what typists and spreadsheets change."""

    def __init__(self, items: Iterable[tuple[str | None, Examined]], *, is_plain: bool) -> None:
        self._items: defaultdict[str, list[Examined]] = defaultdict(list)
        for key, item in items:
            if key:
                self._items[key].append(item)
        self._rough = Counter(map(_rough, self._items)) if is_plain else Counter()

    def of(self, text: str, key: str | None) -> list[Examined] | Cause:
        """Return the examinations of a key, at least one, or why there is none."""
        if not text:
            return Cause.NO_KEY
        return self._items.get(key or "") or (Cause.NEARLY if _rough(text) in self._rough else Cause.NO_PARTNER)


def _rough(key: str) -> str:
    return "".join(key.split()).casefold().lstrip("0")


def _only(items: Sequence[Examined] | Cause) -> str | Cause:
    """Return the one study of examinations."""
    if isinstance(items, Cause):
        return items
    studies = {item.study_uid for item in items}
    if len(studies) > 1:
        return Cause.SEVERAL_STUDIES
    return studies.pop() or Cause.NO_STUDY_UID
