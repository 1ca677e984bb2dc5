"""Examinations that an interval of a wanted width needs.

Examinations count as independent: several of one patient add less.
"""

from math import ceil, isnan, sqrt
from statistics import NormalDist

from bsbatch.evaluation.bootstrap import CONFIDENCE

_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
_MOST = 1 << 40
"""More examinations than any archive holds."""


def proportion_size(share: float, width: float) -> int | None:
    """Smallest number of examinations whose Wilson interval around a share is at most so wide; None if NaN.

    The width ``2 z / (n + z^2) sqrt(n p (1 - p) + z^2 / 4)`` is solved for n. Source: Wilson, JASA 1927;22:209-212;
    Newcombe, Statistics in Medicine 1998;17:857-872.
    """
    if isnan(share):
        return None
    squares, spread = _Z**2, 4 * _Z**2 * share * (1 - share)
    half = (spread - 2 * width**2 * squares) / (2 * width**2)
    return max(1, ceil(half + sqrt(half**2 - squares**2 + squares**2 / width**2) - 1e-9))


def auc_size(auc: float, prevalence: float, width: float) -> int | None:
    """Smallest number of examinations whose interval of the ROC AUC is at most so wide; None if NaN, 0 or 1.

    Normal interval with the standard error of Hanley and McNeil, Radiology 1982;143:29-36, which is 0 at 0 and 1.
    """
    if isnan(auc) or auc in {0.0, 1.0}:
        return None
    few, many = 2, 4
    while auc_width(auc, many * prevalence, many * (1 - prevalence)) > width and many < _MOST:
        few, many = many, 2 * many
    while many - few > 1:
        middle = (few + many) // 2
        is_enough = auc_width(auc, middle * prevalence, middle * (1 - prevalence)) <= width
        few, many = (few, middle) if is_enough else (middle, many)
    return many


def auc_width(auc: float, positives: float, negatives: float) -> float:
    """Width of the normal interval of a ROC AUC, by Hanley and McNeil's standard error."""
    both_positive, both_negative = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (
        auc * (1 - auc) + (positives - 1) * (both_positive - auc**2) + (negatives - 1) * (both_negative - auc**2)
    ) / (positives * negatives)
    return 2 * _Z * sqrt(max(variance, 0.0))
