"""What metrics are computed of: scores, labels and patients. Imports nothing of ours."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sample:
    """Scored and labelled examinations."""

    scores: NDArray[np.float32]
    """``(N,)`` probabilities of metastasis, in [0, 1], at the precision in which a run compares and stores them."""
    labels: Mask
    """``(N,)`` True where metastasis is known."""
    patients: NDArray[np.intp]
    """``(N,)`` number of the patient, from 0 without gaps."""

    @property
    def size(self) -> int:
        """Examinations."""
        return len(self.scores)

    @property
    def positives(self) -> int:
        """Examinations with metastasis."""
        return int(self.labels.sum())

    @property
    def negatives(self) -> int:
        """Examinations without metastasis."""
        return self.size - self.positives

    @property
    def patient_count(self) -> int:
        """Patients."""
        return int(self.patients.max()) + 1 if self.size else 0

    def take(self, chosen: Mask) -> "Sample":
        """The examinations where ``(N,)`` `chosen` is True, their patients numbered anew."""
        _, patients = np.unique(self.patients[chosen], return_inverse=True)
        return Sample(self.scores[chosen], self.labels[chosen], patients.astype(np.intp))
