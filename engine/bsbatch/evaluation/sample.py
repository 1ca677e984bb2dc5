"""Scores, labels and patients, of which metrics are computed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
_LEAST = 2.0**-24
"""Distance from 1 of the largest float32 below it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Scored and labelled examinations."""

    scores: NDArray[np.float32]
    """``(N,)`` scores for metastasis in [0, 1], in the precision in which a run compares and stores them."""
    labels: Mask
    """``(N,)`` True with metastasis, by the reference standard."""
    patients: NDArray[np.intp]
    """``(N,)`` number of the patient, from 0 without gaps."""
    exact_logits: Floats | None = None
    """``(N,)`` logits that the run wrote beside the scores; None if it wrote none."""

    @property
    def logits(self) -> Floats:
        """``(N,)`` log odds of the scores; finite, because a score of 0 or 1 counts as the next one in float32."""
        if self.exact_logits is not None:
            return self.exact_logits
        scores = np.clip(self.scores.astype(np.float64), _LEAST, 1 - _LEAST)
        logits: Floats = np.log(scores) - np.log1p(-scores)
        return logits

    @property
    def size(self) -> int:
        """Number of examinations."""
        return len(self.scores)

    @property
    def positives(self) -> int:
        """Number of examinations with metastasis."""
        return int(self.labels.sum())

    @property
    def negatives(self) -> int:
        """Number of examinations without metastasis."""
        return self.size - self.positives

    @property
    def patient_count(self) -> int:
        """Number of patients."""
        return int(self.patients.max()) + 1 if self.size else 0

    def take(self, chosen: Mask) -> "Sample":
        """Select the examinations that are True in ``(N,)`` `chosen`, and number their patients anew."""
        _, patients = np.unique(self.patients[chosen], return_inverse=True)
        logits = None if self.exact_logits is None else self.exact_logits[chosen]
        return Sample(self.scores[chosen], self.labels[chosen], patients.astype(np.intp), logits)
