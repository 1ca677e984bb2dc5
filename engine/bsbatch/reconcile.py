"""The check at the end: what lies in the two tables, read back and added up."""

from array import array
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bsbatch.dicom.reasons import Status
from bsbatch.errors import OutputError
from bsbatch.identity import digest
from bsbatch.parts import all_rows
from bsbatch.records import Unit
from bsbatch.tables import OBJECTS, OK, RESULTS


@dataclass(slots=True)
class Flow:
    """The flow of a run: objects -> used / failed / skipped -> examinations -> scored, with counts of every reason."""

    seen: int = 0
    """Objects in the archive, as far as it was listed."""
    objects: Counter[str] = field(default_factory=Counter)
    """Status -> objects."""
    object_reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(status, reason) -> objects."""
    examinations: Counter[str] = field(default_factory=Counter)
    """Status -> examinations."""
    examination_reasons: Counter[str] = field(default_factory=Counter)
    """Reason -> failed examinations."""
    positive: int = 0
    """Examinations predicted positive."""
    pending: int = 0
    """Objects not decided yet, because the run was cut short."""
    gone: int = 0
    """Objects of earlier runs that are no longer in the archive; their rows stay."""

    @property
    def error_rate(self) -> float:
        """Failed over all examinations, in [0, 1]."""
        total = self.examinations.total()
        return self.examinations[Status.FAILED] / total if total else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For ``run.json``."""
        return {
            "seen": self.seen,
            "pending": self.pending,
            "gone": self.gone,
            "objects": dict(self.objects),
            "object_reasons": {reason: count for (_, reason), count in sorted(self.object_reasons.items())},
            "examinations": dict(self.examinations),
            "examination_reasons": dict(sorted(self.examination_reasons.items())),
            "positive": self.positive,
            "error_rate": round(self.error_rate, 6),
        }

    def add_plan(self, unit: Unit) -> None:
        """Count what would become of a unit, as far as its headers tell."""
        for item in unit.settled:
            self._add_object(item.verdict.status, item.verdict.reason)
        for exam in unit.exams:
            reason = exam.defect.reason if exam.defect is not None else None
            self._add_examination(Status.FAILED if reason else OK, reason)
            for _ in exam.scans:
                self._add_object(Status.FAILED if reason else Status.USED, reason)

    def _add_object(self, status: str, reason: str | None) -> None:
        self.objects[status] += 1
        if reason is not None:
            self.object_reasons[status, reason] += 1

    def _add_examination(self, status: str, reason: str | None) -> None:
        self.examinations[status] += 1
        if reason is not None:
            self.examination_reasons[reason] += 1


def reconcile(out: Path, seen: int, *, is_complete: bool) -> Flow:
    """Add up the committed rows and hold them against what was seen.

    Parameters
    ----------
    out
        The output folder.
    seen
        Objects that the source listed.
    is_complete
        Whether the run came to the end of the archive.

    Raises
    ------
    OutputError
        A row is missing, there twice, or belongs to nothing: the tables were changed by something else than bsbatch.
    """
    flow = Flow(seen=seen)
    used, scored = _read_objects(out, flow), _read_results(out, flow)
    rows = flow.objects.total()
    if is_complete and rows < seen:
        raise _broken(out, f"{seen} objects were seen and {rows} have a row")
    if not np.array_equal(used, scored):
        raise _broken(out, "used objects and scored examinations do not belong together")
    if is_complete:
        flow.gone = rows - seen
    else:
        flow.pending = max(0, seen - rows)
    return flow


def add_up(out: Path) -> Flow:
    """Count the rows of a run that may not have come to its end: `reconcile` checks them besides.

    Raises
    ------
    OutputError
        A row is there twice, or a part cannot be read.
    """
    flow = Flow()
    _read_objects(out, flow)
    _read_results(out, flow)
    flow.seen = flow.objects.total()
    return flow


def _read_objects(out: Path, flow: Flow) -> Any:
    """Digests of the examinations that used objects belong to, each once."""
    sources, used = array("Q"), array("Q")
    for row in all_rows(out / OBJECTS, ["source", "status", "reason", "exam_id"]):
        flow._add_object(row["status"], row["reason"])
        sources.append(digest(row["source"]))
        if row["status"] == Status.USED:
            used.append(digest(row["exam_id"]))
    _check_unique(out, sources, "objects")
    return np.unique(np.array(used, np.uint64))


def _read_results(out: Path, flow: Flow) -> Any:
    """Digests of the scored examinations, sorted."""
    exams, scored = array("Q"), array("Q")
    for row in all_rows(out / RESULTS, ["exam_id", "status", "reason", "predicted"]):
        flow._add_examination(row["status"], row["reason"])
        flow.positive += row["predicted"] == 1
        exams.append(digest(row["exam_id"]))
        if row["status"] == OK:
            scored.append(exams[-1])
    _check_unique(out, exams, "examinations")
    return np.sort(np.array(scored, np.uint64))


def _check_unique(out: Path, digests: "array[int]", what: str) -> None:
    ordered = np.frombuffer(digests, np.uint64)  # no copy: an archive may hold millions
    ordered.sort()
    repeated = int(np.count_nonzero(ordered[1:] == ordered[:-1]))
    if repeated:
        raise _broken(out, f"{repeated} {what} have more than one row")


def _broken(out: Path, what: str) -> OutputError:
    return OutputError(
        f"the tables in {out} do not add up: {what}. Keep them for a bug report and run again with --fresh"
    )
