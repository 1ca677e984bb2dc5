"""The committed rows of studies that are decided anew, and their withdrawal."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from bsbatch.errors import OutputError
from bsbatch.identity import DigestSet, digest, study_key
from bsbatch.reasons import OF_STUDY, Stage
from bsbatch.records import Examination, SettledObject
from bsbatch.store.parts import all_rows, keep_rows, parts_in
from bsbatch.store.tables import OBJECTS, RESULTS, Row

COLUMNS = ["source", "stage", "reason", "exam_id", "study_uid", "sop_uid"]
_OF_RESULT = ["exam_id", "status"]


class _Decided(NamedTuple):
    """A row of ``objects``, as digests: an archive may hold all of its studies twice."""

    exam: int | None
    uid: int | None
    """`uid_digest`."""
    decision: int | None
    """`_decision`; None if no event can agree with the row."""


class Committed:
    """The rows in an output folder of the objects of some studies: examinations, copies, objects left out."""

    def __init__(self, out: Path) -> None:
        self._objects, self._results = out / OBJECTS, out / RESULTS
        self._rows: dict[int, _Decided] = {}
        """By digest of the source."""
        self._withdrawn = DigestSet()
        """Digests of the sources whose rows are withdrawn."""
        self.withdrawn: Counter[str] = Counter()
        """Rows that were withdrawn: ``objects``, and results by their status."""

    def open(self, studies: DigestSet) -> None:
        """Read the rows of some studies, given by `bsbatch.identity.study_key`.

        Raises
        ------
        OutputError
            A part cannot be read.
        """
        rows = (row for row in all_rows(self._objects, COLUMNS) if is_of_study(row) and study_of(row) in studies)
        self._rows = {digest(row["source"]): _decided(row) for row in rows}

    def settle_gone(self, present: DigestSet, uids: DigestSet) -> None:
        """Settle the rows of objects that are gone from the archive.

        Such a row is withdrawn if an object of its study and UID is there, under another path. Otherwise it stays, and
        so do the rows of the other objects of its examination.

        Parameters
        ----------
        present
            Digests of the sources in the archive.
        uids
            `uid_digest` of the objects in the archive that have no row yet.
        """
        gone = {source: row for source, row in self._rows.items() if source not in present}
        there = {row.uid for source, row in self._rows.items() if source in present} - {None}
        moved = {source for source, row in gone.items() if row.uid in there or row.uid in uids}
        staying = {row.exam for source, row in gone.items() if source not in moved} - {None}
        reopened = {gone[source].exam for source in moved} - {None}
        for source, row in list(self._rows.items()):
            if row.exam in staying or (source in gone and source not in moved):
                del self._rows[source]
            elif source in moved:
                self._withdrawn.add(source)
            elif row.exam in reopened:
                self._rows[source] = row._replace(decision=None)

    def includes(self, source: str) -> bool:
        """Return True if an object has one of the rows."""
        return digest(source) in self._rows

    def agrees(self, event: Examination | SettledObject) -> bool:
        """Return True if the rows of all objects of an event say the same as it; else mark them for withdrawal."""
        if isinstance(event, Examination):
            sources, verdict = [digest(scan.ref.source) for scan in event.scans], event.defect
            exam = digest(event.exam_id)
        else:
            sources, verdict, exam = [digest(event.ref.source)], event.verdict, None
        decision = _decision(exam, *((None, None) if verdict is None else (verdict.stage, verdict.reason)))
        rows = [self._rows.get(source) for source in sources]
        if all(row is not None and row.decision == decision for row in rows):
            return True
        for source in sources:
            self._withdrawn.add(source)
        return False

    def withdraw(self) -> None:
        """Remove the rows marked by `agrees`, and the results of their examinations.

        Raises
        ------
        OutputError
            A part cannot be read or written.
        """
        exams = {row.exam for source, row in self._rows.items() if source in self._withdrawn} - {None}
        if not any(source in self._withdrawn for source in self._rows):
            return
        try:
            # results first: a kill in between leaves objects without results, and the next run removes those
            for part in parts_in(self._results) if exams else ():
                keep_rows(part, lambda row: self._keeps(row["status"], digest(row["exam_id"]) not in exams), _OF_RESULT)
            for part in parts_in(self._objects):
                keep_rows(part, lambda row: self._keeps("objects", not self._is_withdrawn(row)), COLUMNS)
        except OSError as error:
            raise OutputError.of(self._objects.parent, error) from error

    def _keeps(self, name: str, is_kept: bool) -> bool:
        self.withdrawn[name] += not is_kept
        return is_kept

    def _is_withdrawn(self, row: Row) -> bool:
        source = digest(row["source"])
        return source in self._withdrawn and source in self._rows


def uid_digest(study: int, sop_uid: str | None) -> int | None:
    """Digest of a SOP Instance UID in its study; None without one: such an object has no other path."""
    return digest("uid", str(study), sop_uid) if sop_uid else None


def is_of_study(row: Row) -> bool:
    """Return True if a row of ``objects`` is that of a whole-body object: of an examination, a copy, or left out."""
    return row["exam_id"] is not None or row["reason"] in OF_STUDY


def study_of(row: Row) -> int:
    """Return the `bsbatch.identity.study_key` of a row of ``objects``."""
    return study_key(row["study_uid"], row["sop_uid"], row["source"])


def _decided(row: Row) -> _Decided:
    exam = None if row["exam_id"] is None else digest(row["exam_id"])
    return _Decided(exam, uid_digest(study_of(row), row["sop_uid"]), _decision(exam, row["stage"], row["reason"]))


def _decision(exam: int | None, stage: str | None, reason: str | None) -> int:
    """Digest of a decision. A reason counts only if it is one of pairing: others come from the pixels."""
    return digest(str(exam), (reason or "") if stage == Stage.PAIRING else "")
