"""The flow of a run: counts of objects and examinations by status and reason."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from bsbatch.reasons import Status
from bsbatch.records import Unit
from bsbatch.store.tables import OK


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
