"""The committed rows of studies that are decided anew, and their withdrawal."""

from collections.abc import Iterator
from pathlib import Path

from bsbatch.errors import OutputError
from bsbatch.identity import DigestSet, digest, study_key
from bsbatch.reasons import COPIES, Stage, Verdict
from bsbatch.records import Examination, SettledObject
from bsbatch.store.parts import all_rows, keep_rows, parts_in
from bsbatch.store.tables import OBJECTS, RESULTS, Row

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

    def leave_out_gone(self, present: DigestSet) -> None:
        """Leave out objects that are gone, and the objects of their examinations: they keep their rows.

        Parameters
        ----------
        present
            Digests of the sources of all objects in the archive.
        """
        gone = {row["exam_id"] for row in self._rows() if digest(row["source"]) not in present} - {None}
        for row in self._rows():
            if row["exam_id"] in gone:
                del self._decided[digest(row["source"])]

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
