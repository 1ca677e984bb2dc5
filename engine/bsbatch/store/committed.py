"""The committed rows of studies that are decided anew, and their withdrawal."""

from collections.abc import Iterator
from pathlib import Path

from bsbatch.errors import OutputError
from bsbatch.identity import DigestSet, digest, study_key
from bsbatch.reasons import COPIES, Stage, Verdict
from bsbatch.records import Examination, SettledObject
from bsbatch.store.parts import all_rows, keep_rows, parts_in
from bsbatch.store.tables import OBJECTS, RESULTS, Row

_UNDECIDED = -1
"""Stands for a decision that no event agrees with."""

COLUMNS = ["source", "stage", "reason", "exam_id", "study_uid", "sop_uid"]


class Committed:
    """The rows in an output folder of the objects of some studies: examinations and copies."""

    def __init__(self, out: Path) -> None:
        self._objects, self._results = out / OBJECTS, out / RESULTS
        self._studies = DigestSet()
        self._decided: dict[int, int] = {}
        """Source -> what its row says, as digests."""
        self._changed = DigestSet()

    def open(self, studies: DigestSet) -> None:
        """Read the rows of some studies, given by `bsbatch.identity.study_key`.

        Raises
        ------
        OutputError
            A part cannot be read.
        """
        self._studies = studies
        self._decided = {digest(row["source"]): _decision_of(row) for row in self._rows()}

    def settle_gone(self, present: DigestSet, uids: DigestSet) -> None:
        """Settle the rows of objects that are gone from the archive.

        Such a row is withdrawn if an object of the same UID is there, under another path. Otherwise it stays, and so do
        the rows of the other objects of its examination.

        Parameters
        ----------
        present
            Digests of the sources of all objects in the archive.
        uids
            `uid_digest` of all objects of the studies that are in the archive and have no row yet.
        """
        for row in self._rows():
            if digest(row["source"]) in present:
                uids.add(uid_digest(row["sop_uid"]))
        gone = [row for row in self._rows() if digest(row["source"]) not in present]
        staying = {row["exam_id"] for row in gone if uid_digest(row["sop_uid"]) not in uids} - {None}
        moved = {row["exam_id"] for row in gone} - staying - {None}
        for row in self._rows():
            source = digest(row["source"])
            is_gone = source not in present
            if row["exam_id"] in staying or (is_gone and uid_digest(row["sop_uid"]) not in uids):
                del self._decided[source]
            elif is_gone:
                self._changed.add(source)
            elif row["exam_id"] in moved:
                self._decided[source] = _UNDECIDED

    def includes(self, source: str) -> bool:
        """Return True if an object has one of the rows."""
        return digest(source) in self._decided

    def agrees(self, event: Examination | SettledObject) -> bool:
        """Return True if the rows of all objects of an event say the same as it; else mark them for withdrawal."""
        if isinstance(event, Examination):
            decisions = {digest(scan.ref.source): _decision(event.exam_id, event.defect) for scan in event.scans}
        else:
            decisions = {digest(event.ref.source): _decision(None, event.verdict)}
        if all(self._decided.get(source) == decision for source, decision in decisions.items()):
            return True
        for source in decisions:
            self._changed.add(source)
        return False

    def withdraw(self) -> None:
        """Remove the rows marked by `agrees`, and the results of their examinations.

        Raises
        ------
        OutputError
            A part cannot be read or written.
        """
        exams = {row["exam_id"] for row in self._rows() if self._is_changed(row)} - {None}
        try:
            # results first: a kill in between leaves objects without results, and the next run removes those
            for part in parts_in(self._results) if exams else ():
                keep_rows(part, lambda row: row["exam_id"] not in exams, ["exam_id"])
            for part in parts_in(self._objects) if len(self._changed) else ():
                keep_rows(part, lambda row: not self._is_changed(row), COLUMNS)
        except OSError as error:
            raise OutputError.of(self._objects.parent, error) from error

    def _is_changed(self, row: Row) -> bool:
        source = digest(row["source"])
        return source in self._changed and source in self._decided

    def _rows(self) -> Iterator[Row]:
        for row in all_rows(self._objects, COLUMNS):
            if is_of_study(row) and study_of(row) in self._studies:
                yield row


def uid_digest(sop_uid: str | None) -> int:
    """Digest of a SOP Instance UID; objects without one are never those of another path."""
    return digest("uid", sop_uid) if sop_uid else 0


def is_of_study(row: Row) -> bool:
    """Return True if a row of ``objects`` is that of a whole-body object: part of an examination, or a copy."""
    return row["exam_id"] is not None or row["reason"] in COPIES


def study_of(row: Row) -> int:
    """Return the `bsbatch.identity.study_key` of a row of ``objects``."""
    return study_key(row["study_uid"], row["sop_uid"], row["source"])


def _decision_of(row: Row) -> int:
    """Digest of a row's decision. A reason counts only if it is one of pairing: others come from the pixels."""
    is_paired = row["stage"] == Stage.PAIRING
    return digest(row["exam_id"] or "", row["reason"] if is_paired else "")


def _decision(exam_id: str | None, verdict: Verdict | None) -> int:
    is_paired = verdict is not None and verdict.stage is Stage.PAIRING
    return digest(exam_id or "", verdict.reason if verdict is not None and is_paired else "")
