"""The ledger of a mirror: one row for each study and for each object that the PACS was asked for, only ever added to.

A study without a failure is settled, and asked for again only if it has grown. The part of ``studies`` is written after
the part of ``objects`` with the same number; a killed command leaves the latter alone, and the next one replaces it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from time import monotonic

import pyarrow as pa

from bsbatch.errors import OutputError, UsageError
from bsbatch.host.files import refuse_file
from bsbatch.identity import DigestSet, digest
from bsbatch.pacs.protocol import PacsObject, PacsStudy
from bsbatch.store.column import Column, text
from bsbatch.store.folder import lock_output
from bsbatch.store.parts import all_rows, number_of, parts_in, remove_leftovers, write_part
from bsbatch.store.tables import Row, make_schema

LEDGER, STUDIES, OBJECTS = "ledger", "studies", "objects"
_FORM = "1"
"""Version of the columns."""
_STUDIES_A_PART, _SECONDS_A_PART = 1000, 30.0
_NAMES = ("study_uid", "instances", "status")


class FetchStatus(StrEnum):
    """Status of an object, and of a study."""

    FETCHED = "fetched"
    """Object: its file is in the mirror. Study: none of its objects failed."""
    DECLINED = "declined"
    """Object: cannot be a whole-body bone scan, so it was never asked for."""
    FAILED = "failed"
    """Could not be fetched; the same command asks for it again."""


_WHY = (
    text("reason", "Stable reason code, null if it was fetched (docs/pacs.md)"),
    text("message", "The reason in words, without patient data"),
)
_ASKED = (
    Column("asked_at", pa.timestamp("s", "UTC"), "Time at which the row was made", is_nullable=False),
    text("study_uid", "(0020,000D) Study Instance UID", is_nullable=False),
)
STUDY_COLUMNS = (
    *_ASKED,
    text("source", "Address of the PACS", is_nullable=False),
    text("status", "fetched or failed", is_nullable=False),
    *_WHY,
    Column("instances", pa.int32(), "(0020,1208) Number of Study Related Instances, as the PACS says"),
    Column("series", pa.int32(), "Series with objects that were looked at", is_nullable=False),
    *(
        Column(status.value, pa.int32(), f"Objects with this status, {status.value}", is_nullable=False)
        for status in FetchStatus
    ),
    Column("bytes", pa.int64(), "Bytes of its files in the mirror", is_nullable=False),
)
OBJECT_COLUMNS = (
    *_ASKED,
    text("series_uid", "(0020,000E) Series Instance UID", is_nullable=False),
    text("sop_uid", "(0008,0018) SOP Instance UID", is_nullable=False),
    text("status", "fetched, declined or failed", is_nullable=False),
    *_WHY,
    text("file", "Path below the mirror"),
    Column("bytes", pa.int64(), "Bytes of the file"),
)


@dataclass(frozen=True, slots=True)
class ObjectOutcome:
    """What became of an object."""

    found: PacsObject
    status: FetchStatus
    reason: str | None = None
    message: str | None = None
    file: str | None = None
    size: int | None = None
    """Bytes; expected ones of an object that a dry run only plans to fetch."""


@dataclass(frozen=True, slots=True)
class StudyOutcome:
    """What became of a study."""

    study: PacsStudy
    objects: tuple[ObjectOutcome, ...] = ()
    reason: str | None = None
    """Set if its objects could not be listed."""
    message: str | None = None

    def count(self, status: FetchStatus) -> int:
        """Objects with this status."""
        return sum(item.status is status for item in self.objects)

    @property
    def series(self) -> int:
        """Series with objects."""
        return len({item.found.series_uid for item in self.objects})

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(item.size or 0 for item in self.objects)

    @property
    def is_failed(self) -> bool:
        """True if anything of it could not be fetched."""
        return self.reason is not None or self.count(FetchStatus.FAILED) > 0


class Ledger:
    """The ledger of one mirror. Studies take at most 32 bytes each; their rows go to the disk."""

    def __init__(self, folder: Path, source: str) -> None:
        self._folder, self._source = folder / LEDGER, source
        self._settled = DigestSet()
        for row in all_rows(self._folder / STUDIES, [*_NAMES]):
            if row["status"] != FetchStatus.FAILED:
                self._settled.add(digest(row["study_uid"], str(row["instances"])))
        self._rows: tuple[list[Row], list[Row]] = [], []
        parts = parts_in(self._folder / STUDIES)
        self._number = number_of(parts[-1]) + 1 if parts else 0
        self._written = monotonic()

    def claim(self, study: PacsStudy) -> bool:
        """Return True once for each study that is not settled."""
        key = digest(study.uid, str(study.instances))
        is_new = key not in self._settled
        self._settled.add(key)
        return is_new

    def add(self, outcome: StudyOutcome) -> None:
        """Add rows; they are on the disk after some seconds, or after `flush`."""
        now = datetime.now(UTC)
        studies, objects = self._rows
        studies.append(_study_row(outcome, now) | {"source": self._source})
        objects.extend(_object_row(outcome, item, now) for item in outcome.objects)
        if len(studies) >= _STUDIES_A_PART or monotonic() - self._written > _SECONDS_A_PART:
            self.flush()

    def flush(self) -> None:
        """Write the rows that are not on the disk.

        Raises
        ------
        OutputError
            The folder cannot be written to.
        """
        studies, objects = self._rows
        if not studies:
            return
        try:
            for table, columns, rows in ((OBJECTS, OBJECT_COLUMNS, objects), (STUDIES, STUDY_COLUMNS, studies)):
                schema = make_schema(table, columns, _FORM)
                write_part(self._folder / table, self._number, pa.Table.from_pylist(rows, schema=schema))
        except OSError as error:
            raise OutputError.of(self._folder, error) from error
        self._rows, self._number, self._written = ([], []), self._number + 1, monotonic()


@contextmanager
def open_ledger(folder: Path, source: str) -> Iterator[Ledger]:
    """Open the ledger of a mirror for one command; at the end of the block its rows are on the disk.

    Raises
    ------
    UsageError
        The folder cannot be written to, or another command is writing to it.
    OutputError
        A part cannot be read or written.
    """
    refuse_file(folder)
    try:
        for table in (STUDIES, OBJECTS):
            (folder / LEDGER / table).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot write to {folder}: {error.strerror}. Choose another folder or grant access"
        ) from error
    with lock_output(folder / LEDGER):
        for table in (STUDIES, OBJECTS):
            remove_leftovers(folder / LEDGER / table)
        ledger = Ledger(folder, source)
        try:
            yield ledger
        finally:
            ledger.flush()


def _study_row(outcome: StudyOutcome, now: datetime) -> Row:
    return {
        "asked_at": now,
        "study_uid": outcome.study.uid,
        "status": FetchStatus.FAILED if outcome.is_failed else FetchStatus.FETCHED,
        "reason": outcome.reason,
        "message": outcome.message,
        "instances": outcome.study.instances,
        "series": outcome.series,
        **{status.value: outcome.count(status) for status in FetchStatus},
        "bytes": outcome.size,
    }


def _object_row(outcome: StudyOutcome, item: ObjectOutcome, now: datetime) -> Row:
    return {
        "asked_at": now,
        "study_uid": outcome.study.uid,
        "series_uid": item.found.series_uid,
        "sop_uid": item.found.sop_uid,
        "status": item.status,
        "reason": item.reason,
        "message": item.message,
        "file": item.file,
        "bytes": item.size,
    }
