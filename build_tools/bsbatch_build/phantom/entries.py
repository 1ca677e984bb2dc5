"""Files of the archive and what a reader is expected to make of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """What becomes of a file."""

    USED = "used"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Status and reason code, empty where the file is used."""

    status: Status
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, not yet given its place."""

    kind: str
    """Dialect, or kind of clutter."""
    outcome: Outcome
    data: bytes
    name: str = ""
    """File name where it matters, such as DICOMDIR; else numbered."""


@dataclass(frozen=True, slots=True)
class Filed:
    """One file in its place."""

    source: str
    """Path below the archive, with forward slashes."""
    entry: Entry


_NAMES = (
    ("{centre}/{patient}/{date}", "IM{number:04d}.dcm"),
    ("export/{patient}/01", "{number:08d}"),
    ("{uid}", "{number:04d}.dcm"),
    ("PACS/{year}/{patient}", "NM.{number:04d}.IMA"),
)
"""Folder and file names in the way of four kinds of export."""


@dataclass(frozen=True, slots=True)
class Folder:
    """Where the files of one study go."""

    path: str
    pattern: str

    def file(self, entries: list[Entry]) -> list[Filed]:
        """Number the files in the order given."""
        return [
            Filed(f"{self.path}/{entry.name or self.pattern.format(number=number)}", entry)
            for number, entry in enumerate(entries, start=1)
        ]


def study_folder(style: int, *, patient: str, uid: str, date: str) -> Folder:
    """The folder of a study in one of four styles."""
    path, pattern = _NAMES[style % len(_NAMES)]
    words = {"centre": patient.rpartition("-")[2][0], "patient": patient, "uid": uid, "date": date}
    return Folder(path.format(year=date[:4], **words), pattern)
