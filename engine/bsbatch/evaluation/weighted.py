"""Metrics of many resamples at once: an examination drawn k times has weight k.

Each function takes ``(R, N)`` weights, one row for each resample, and returns ``(R,)`` or ``(R, K)`` values, NaN if
undefined. With weights of 1 they equal those of `bsbatch.evaluation.metrics`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsbatch.evaluation.metrics import bin_of, predictive_values, ratio
from bsbatch.evaluation.performance import BINS, GRID
from bsbatch.evaluation.sample import Floats, Sample


@dataclass(frozen=True, slots=True)
class Ranking:
    """A sample sorted by falling score, equal scores together."""

    order: NDArray[np.intp]
    starts: NDArray[np.intp]
    """``(U,)`` index in `order` at which each of the U different scores begins."""
    labels: Floats
    """``(N,)`` 1 for positives, in that order."""

    @classmethod
    def of(cls, sample: Sample) -> "Ranking":
        """Sort a sample."""
        order = np.argsort(-sample.scores, kind="stable")
        scores = sample.scores[order]
        starts = np.flatnonzero(np.concatenate([[True], scores[1:] != scores[:-1]]))
        return cls(order, starts, sample.labels[order].astype(np.float64))

    def counts(self, weights: Floats) -> tuple[Floats, Floats]:
        """Count false and true positives, ``(R, U + 1)`` each, as the threshold falls: from none to all."""
        sorted_weights = weights[:, self.order]
        positives = np.add.reduceat(sorted_weights * self.labels, self.starts, axis=1)
        negatives = np.add.reduceat(sorted_weights * (1.0 - self.labels), self.starts, axis=1)
        return _from_zero(negatives), _from_zero(positives)


def auc(ranking: Ranking, weights: Floats) -> Floats:
    """Areas under the ROC curve, ``(R,)``, by the trapezoidal rule, which counts ties half."""
    false, true = ranking.counts(weights)
    area = (np.diff(false, axis=1) * (true[:, 1:] + true[:, :-1])).sum(axis=1) / 2
    return ratio(area, false[:, -1] * true[:, -1])


def roc(ranking: Ranking, weights: Floats) -> Floats:
    """TPR at the FPR of `GRID`, ``(R, len(GRID))``; the highest one if the curve rises vertically there."""
    false, true = ranking.counts(weights)
    fpr, tpr = ratio(false, false[:, -1:]), ratio(true, true[:, -1:])
    return np.stack([at_grid(*curve) for curve in zip(fpr, tpr, strict=True)])


def at_grid(fpr: Floats, tpr: Floats) -> Floats:
    """Interpolate the TPR of one curve linearly at the FPR of `GRID`, ``(len(GRID),)``."""
    return np.interp(GRID, fpr, tpr)


def brier(sample: Sample, weights: Floats) -> Floats:
    """Brier scores, ``(R,)``."""
    errors = (sample.scores.astype(np.float64) - sample.labels) ** 2
    return ratio(weights @ errors, weights.sum(axis=1))


def rates(sample: Sample, threshold: float, prevalence: float | None, weights: Floats) -> dict[str, Floats]:
    """Metrics of one operating point, ``(R,)`` each; prevalence None uses that of each resample."""
    decided = sample.scores >= np.float32(threshold)
    positives, total = weights @ sample.labels, weights.sum(axis=1)
    true_positives, decided_positive = weights @ (sample.labels & decided), weights @ decided
    negatives = total - positives
    true_negatives = negatives - (decided_positive - true_positives)
    sensitivity, specificity = ratio(true_positives, positives), ratio(true_negatives, negatives)
    ppv, npv = ratio(true_positives, decided_positive), ratio(true_negatives, total - decided_positive)
    if prevalence is not None:
        ppv, npv = predictive_values(sensitivity, specificity, np.array(prevalence))
    return {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "fpr": 1.0 - specificity,
        "fnr": 1.0 - sensitivity,
        "accuracy": ratio(true_positives + true_negatives, total),
        "f1": ratio(2 * true_positives, positives + decided_positive),
        "ppv": ppv,
        "npv": npv,
    }


def calibration(sample: Sample, weights: Floats) -> Floats:
    """Shares of positives in the bins, ``(R, BINS)``; NaN in bins that a resample leaves empty."""
    members = bin_of(sample.scores)[:, None] == np.arange(BINS)
    return ratio(weights @ (members & sample.labels[:, None]), weights @ members)


def _from_zero(steps: Floats) -> Floats:
    return np.pad(np.cumsum(steps, axis=1), ((0, 0), (1, 0)))
