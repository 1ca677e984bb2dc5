"""Files of a phantom archive, each with the status and reason code expected from a reader."""

from __future__ import annotations

from dataclasses import dataclass

from bsbatch.reasons import Status


@dataclass(frozen=True, slots=True)
class Expectation:
    """Expected status and reason code of a file; the code is empty for a used file."""

    status: Status
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PhantomFile:
    """Content of one file, before it has a path."""

    kind: str
    """Dialect, or kind of clutter."""
    expectation: Expectation
    data: bytes
    name: str = ""
    """File name if it matters, such as DICOMDIR; empty for a numbered name."""


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """One file with its path in the archive."""

    source: str
    """Path below the archive, with forward slashes."""
    file: PhantomFile


_NAMES = (
    ("{centre}/{patient}/{date}", "IM{number:04d}.dcm"),
    ("export/{patient}/01", "{number:08d}"),
    ("{uid}", "{number:04d}.dcm"),
    ("PACS/{year}/{patient}", "NM.{number:04d}.IMA"),
)
"""Folder and file names in the styles of four kinds of export."""


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """Folder of one study, with the pattern of its file names."""

    path: str
    pattern: str

    def assign_paths(self, files: list[PhantomFile]) -> list[ArchiveFile]:
        """Number the files in the given order, from 1."""
        return [
            ArchiveFile(f"{self.path}/{file.name or self.pattern.format(number=number)}", file)
            for number, file in enumerate(files, start=1)
        ]


def study_folder(style: int, *, patient: str, uid: str, date: str) -> StudyFolder:
    """Return the folder of a study in one of four styles."""
    path, pattern = _NAMES[style % len(_NAMES)]
    words = {"centre": patient.rpartition("-")[2][0], "patient": patient, "uid": uid, "date": date}
    return StudyFolder(path.format(year=date[:4], **words), pattern)
