"""Metrics of many resamples at once: an examination drawn k times has weight k.

Each function takes ``(R, N)`` weights, one row for each resample, and returns ``(R,)`` or ``(R, K)`` values, NaN if
undefined. With weights of 1 they equal those of `bsbatch.evaluation.metrics`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsbatch.evaluation.metrics import at_prevalence, ratio
from bsbatch.evaluation.performance import GRID
from bsbatch.evaluation.sample import Floats, Sample
from bsbatch.evaluation.statistics.utility import THRESHOLDS, net_benefit

_ROUNDING = 1e-12
"""Difference of two equal recalls that sums in another order may have."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """A sample sorted by falling score, equal scores together."""

    order: NDArray[np.intp]
    starts: NDArray[np.intp]
    """``(U,)`` index in `order` at which each of the U different scores begins."""
    labels: Floats
    """``(N,)`` 1 for positives, in that order."""
    scores: Floats
    """``(U,)`` the different scores, falling."""

    @classmethod
    def of(cls, sample: Sample) -> "Ranking":
        """Sort a sample."""
        order = np.argsort(-sample.scores, kind="stable")
        scores = sample.scores[order]
        starts = np.flatnonzero(np.concatenate([[True], scores[1:] != scores[:-1]]))
        return cls(order, starts, sample.labels[order].astype(np.float64), scores[starts].astype(np.float64))

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


def precision(ranking: Ranking, weights: Floats) -> Floats:
    """Precision at the recall of `GRID`, ``(R, len(GRID))``: of the highest threshold that reaches that recall."""
    false, true = ranking.counts(weights)
    recall, shares = ratio(true, true[:, -1:]), ratio(true, true + false)
    return np.stack([_precision_at_grid(*curve) for curve in zip(recall, shares, strict=True)])


def average_precision(ranking: Ranking, weights: Floats) -> Floats:
    """Mean precision, each weighted by the step of recall that it comes with, ``(R,)``; NaN without a positive.

    Source: Zhu, Recall, Precision and Average Precision, University of Waterloo 2004; as in scikit-learn.
    """
    false, true = ranking.counts(weights)
    shares = np.nan_to_num(ratio(true, true + false))
    return ratio((np.diff(true, axis=1) * shares[:, 1:]).sum(axis=1), true[:, -1])


def decision_curve(ranking: Ranking, weights: Floats) -> Floats:
    """Net benefit at each of `THRESHOLDS`, ``(R, 99)``; a score equal to the threshold is positive."""
    false, true = ranking.counts(weights)
    decided = np.searchsorted(-ranking.scores, -THRESHOLDS.astype(np.float32).astype(np.float64), side="right")
    return net_benefit(true[:, decided], false[:, decided], weights.sum(axis=1, keepdims=True))


def reweight(sample: Sample, weights: Floats, prevalence: float | None) -> Floats:
    """Scale the weights of either class so that positives have the share `prevalence`; None leaves them as they are.

    A row without one of the classes becomes NaN.
    """
    if prevalence is None:
        return weights
    share = ratio(weights @ sample.labels, weights.sum(axis=1))[:, None]
    positive, negative = ratio(np.array(prevalence), share), ratio(np.array(1 - prevalence), 1 - share)
    return weights * np.where(sample.labels, positive, negative) + 0.0 * (positive + negative)


def brier(sample: Sample, weights: Floats) -> Floats:
    """Brier scores, ``(R,)``: mean squared differences between score and label, in [0, 1], 0 the best.

    Source: Brier, Monthly Weather Review 1950;78:1-3.
    """
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
    values = {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "fpr": 1.0 - specificity,
        "fnr": 1.0 - sensitivity,
        "accuracy": ratio(true_positives + true_negatives, total),
        "f1": ratio(2 * true_positives, positives + decided_positive),
        "ppv": ratio(true_positives, decided_positive),
        "npv": ratio(true_negatives, total - decided_positive),
    }
    return values if prevalence is None else values | at_prevalence(sensitivity, specificity, prevalence)


def _precision_at_grid(recall: Floats, shares: Floats) -> Floats:
    """Look up the precision of one curve at the recall of `GRID`; nothing is found before the first examination."""
    first = int(np.argmax(~np.isnan(shares)))
    steps = np.maximum(np.searchsorted(recall, GRID - _ROUNDING), first)
    return shares[np.minimum(steps, len(shares) - 1)]


def _from_zero(steps: Floats) -> Floats:
    return np.pad(np.cumsum(steps, axis=1), ((0, 0), (1, 0)))
