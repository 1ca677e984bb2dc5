"""Comparison of two models on the same examinations."""

from math import erfc, nan, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, rankdata

from bsbatch.evaluation.bootstrap import CONFIDENCE, Interval
from bsbatch.evaluation.performance import Delong, Mcnemar
from bsbatch.evaluation.sample import Floats, Mask

_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


def delong(labels: Mask, first: NDArray[np.float32], second: NDArray[np.float32]) -> Delong:
    """Compare two correlated ROC AUC; examinations count as independent.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 1988;44:837-845, by the ranks of Sun and Xu, IEEE Signal
    Processing Letters 2014;21:1389-1393.

    Parameters
    ----------
    labels
        ``(N,)`` True for positives; two at least of either class.
    first, second
        ``(N,)`` scores of the two models.
    """
    parts = [_placements(labels, scores) for scores in (first, second)]
    areas = [float(positive.mean()) for positive, _ in parts]
    variance = sum(float(np.var(one - other, ddof=1)) / len(one) for one, other in zip(*reversed(parts), strict=True))
    difference, error = areas[1] - areas[0], sqrt(variance)
    p_value = erfc(abs(difference) / error / sqrt(2)) if error > 0 else nan
    interval = Interval(difference, difference - _Z * error, difference + _Z * error)
    return Delong(areas[0], areas[1], interval, p_value)


def mcnemar(first: Mask, second: Mask) -> Mcnemar:
    """Compare two models' right decisions, ``(N,)`` each, by the exact binomial test of the discordant ones.

    Source: McNemar, Psychometrika 1947;12:153-157.
    """
    alone = int((first & ~second).sum()), int((second & ~first).sum())
    return Mcnemar(*alone, float(binomtest(alone[0], sum(alone)).pvalue) if sum(alone) else 1.0)


def _placements(labels: Mask, scores: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Share of negatives below each positive, and of positives above each negative; ties count half."""
    positive, negative = scores[labels], scores[~labels]
    ranks = rankdata(scores)
    below = (ranks[labels] - rankdata(positive)) / len(negative)
    above = 1 - (ranks[~labels] - rankdata(negative)) / len(positive)
    return below, above
