"""Benefit of decisions at any threshold: the decision curve.

Source: Vickers and Elkin, Medical Decision Making 2006;26:565-574.
"""

import numpy as np

from bsbatch.evaluation.sample import Floats

THRESHOLDS: Floats = np.arange(1, 100) / 100
"""Probabilities from which a patient would be treated as positive."""
_ODDS: Floats = THRESHOLDS / (1 - THRESHOLDS)


def net_benefit(true: Floats, false: Floats, total: Floats) -> Floats:
    """Compute the net benefit at each of `THRESHOLDS`, ``(R, 99)``.

    ``TP / n - FP / n * t / (1 - t)``: true positives for each examination, less the false ones at the price that the
    threshold t puts on them. Never treating has a benefit of 0.

    Parameters
    ----------
    true, false
        ``(R, 99)`` true and false positives at each threshold.
    total
        ``(R, 1)`` examinations.
    """
    return (true - false * _ODDS) / total


def treat_all(prevalence: float) -> Floats:
    """Net benefit of calling every examination positive, ``(99,)``."""
    return prevalence - (1 - prevalence) * _ODDS
