"""Counts of the objects and examinations of a run by status and reason."""

from collections import Counter
from dataclasses import dataclass, field

from bsbatch.reasons import Reason, Status


@dataclass(slots=True)
class Flow:
    """Flow of a run: objects -> used / failed / skipped -> examinations -> scored, with counts of every reason."""

    seen: int = 0
    """Objects listed in the archive so far."""
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
    unlike: int = 0
    """Scored examinations that are unlike the training data of the model."""
    pending: int = 0
    """Objects without a row because the run was interrupted or limited."""
    gone: int = 0
    """Objects of earlier runs that are no longer in the archive; they keep their rows."""

    @property
    def error_rate(self) -> float:
        """Failed examinations divided by all examinations, in [0, 1]."""
        total = self.examinations.total()
        return self.examinations[Status.FAILED] / total if total else 0.0

    @property
    def file_error_rate(self) -> float:
        """Failed files divided by all files that have a row, in [0, 1]."""
        total = self.objects.total()
        return self.objects[Status.FAILED] / total if total else 0.0

    @property
    def unlike_share(self) -> float:
        """Share of the scored examinations that are unlike the training data of the model, in [0, 1]."""
        scored = self.examinations["ok"]
        return self.unlike / scored if scored else 0.0

    @property
    def internal_errors(self) -> int:
        """Objects that failed by a bug of ours."""
        return self.object_reasons[Status.FAILED, Reason.INTERNAL_ERROR]

    def as_dict(self) -> dict[str, object]:
        """Return the counts as they appear in ``run.json``."""
        return {
            "seen": self.seen,
            "pending": self.pending,
            "gone": self.gone,
            "objects": dict(self.objects),
            "object_reasons": {reason: count for (_, reason), count in sorted(self.object_reasons.items())},
            "examinations": dict(self.examinations),
            "examination_reasons": dict(sorted(self.examination_reasons.items())),
            "positive": self.positive,
            "unlike_training": self.unlike,
            "error_rate": round(self.error_rate, 6),
            "file_error_rate": round(self.file_error_rate, 6),
        }

    def count_object(self, status: str, reason: str | None) -> None:
        """Count one object by status and, unless it was used, by reason."""
        self.objects[status] += 1
        if reason is not None:
            self.object_reasons[status, reason] += 1

    def count_examination(self, status: str, reason: str | None) -> None:
        """Count one examination by status and, if it failed, by reason."""
        self.examinations[status] += 1
        if reason is not None:
            self.examination_reasons[reason] += 1
