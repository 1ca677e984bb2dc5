"""How a table of labels is read and joined with examinations. Light: the command line imports it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from bsbatch.errors import UsageError

_JOIN = re.compile(
    r"(?P<by>study|accession)(?:=(?P<column>.+))?"
    r"|patient(?:=(?P<patient>.+?))?\+date(?:=(?P<date>.+?))?(?::(?P<days>\d{1,4}))?"
)
_FORMS = "study[=COLUMN], accession[=COLUMN] or patient[=COLUMN]+date[=COLUMN][:DAYS]"


class JoinKind(StrEnum):
    """What a row of a table and a study have in common."""

    STUDY = "study"
    ACCESSION = "accession"
    PATIENT_AND_DATE = "patient+date"


NAMES = {
    "study": ("studyuid", "studyinstanceuid"),
    "accession": ("accession", "accessionnumber", "accessionno", "accessionnr"),
    "patient": ("patientid", "patid", "patient", "pid", "mrn"),
    "date": ("date", "studydate", "examdate", "datum", "untersuchungsdatum"),
}
"""Headings of key columns that need no name in ``--join``: in lower case, letters and digits alone."""


@dataclass(frozen=True, slots=True)
class Join:
    """The argument of ``--join``."""

    kind: JoinKind
    columns: tuple[str | None, ...]
    """Headings of the key columns: one, or those of patient and date; None finds one by `NAMES`."""
    days: int = 0
    """Days by which the dates of a row and of a study may differ."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``study``, ``accession=Order No`` or ``patient+date:14``.

        Raises
        ------
        UsageError
            It is none of these.
        """
        found = _JOIN.fullmatch(text.strip())
        if found is None:
            raise UsageError(f"--join {text} is none of {_FORMS}")
        if found["by"]:
            return cls(JoinKind(found["by"]), (found["column"],))
        return cls(JoinKind.PATIENT_AND_DATE, (found["patient"], found["date"]), int(found["days"] or 0))

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the keys, in the order of `columns`."""
        return ("patient", "date") if self.kind is JoinKind.PATIENT_AND_DATE else (str(self.kind),)


@dataclass(frozen=True, slots=True)
class LabelTable:
    """A table of labels as a hospital has it, and how it is joined."""

    path: Path
    """``.csv``, ``.xlsx`` or ``.parquet``."""
    join: Join
    label: str = "label"
    """Heading of the column that tells positive from negative."""
    positive: tuple[str, ...] = ("1",)
    """Values with metastasis, whatever their case."""
    negative: tuple[str, ...] = ("0",)
    sheet: str | None = None
    """Sheet of a workbook; None if it has one."""

    def __post_init__(self) -> None:
        """Refuse values that are both positive and negative."""
        both = {fold(value) for value in self.positive} & {fold(value) for value in self.negative}
        if both:
            raise UsageError(f"{', '.join(sorted(both))} is given to both --positive and --negative")


class Rank(StrEnum):
    """Orders of a worklist."""

    SCORE = "score"
    """Positive examinations, the highest score first."""
    UNCERTAINTY = "uncertainty"
    """Scored examinations, those nearest to the threshold first, by the log odds of their scores."""
    DISAGREEMENT = "disagreement"
    """Examinations whose label contradicts their prediction, the most wrong score first."""


MOST_LISTED = 500


@dataclass(frozen=True, slots=True)
class Worklist:
    """Settings of ``bsbatch worklist``."""

    rank: Rank = Rank.SCORE
    limit: int = MOST_LISTED
    """Largest number of examinations."""
    labels: LabelTable | None = None
    """Labels to show; `Rank.DISAGREEMENT` needs them."""

    def __post_init__(self) -> None:
        """Refuse values out of range, and an order without its labels."""
        if self.limit < 1:
            raise UsageError("--limit must be at least 1")
        if self.rank is Rank.DISAGREEMENT and self.labels is None:
            raise UsageError("--rank disagreement needs labels: add --labels and --join")


@dataclass(frozen=True, slots=True)
class LabelOptions:
    """Options of the commands that take labels, as they were given."""

    join: str | None = None
    label: str | None = None
    positive: Sequence[str] = ()
    negative: Sequence[str] = ()
    sheet: str | None = None

    def table(self, labels: Path | None) -> LabelTable | None:
        """Return the table to join; None for a label file of bsbatch's own form, which needs no option.

        Raises
        ------
        UsageError
            Options are missing or contradict one another.
        """
        others = [self.label, *self.positive, *self.negative, self.sheet]
        if self.join is None:
            if any(value is not None for value in others):
                raise UsageError(f"--label, --positive, --negative and --sheet need --join: {_FORMS}")
            if labels is not None and labels.suffix.lower() in {".xlsx", ".parquet"}:
                raise UsageError(f"how is {labels} joined with the results? --join {_FORMS}")
            return None
        if labels is None:
            raise UsageError("--join needs --labels: the table to join")
        if bool(self.positive) != bool(self.negative):
            raise UsageError("--positive and --negative go together: name the values of both")
        return LabelTable(
            labels,
            Join.parse(self.join),
            self.label or "label",
            tuple(self.positive) or ("1",),
            tuple(self.negative) or ("0",),
            self.sheet,
        )


def fold(value: str) -> str:
    """Return a value as values are compared: without case, and one blank between words."""
    return " ".join(value.split()).casefold()
