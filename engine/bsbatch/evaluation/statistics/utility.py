"""Benefit of decisions at any threshold: the decision curve.

Source: Vickers and Elkin, Medical Decision Making 2006;26:565-574.
"""

import numpy as np

from bsbatch.evaluation.sample import Floats, Sample

THRESHOLDS: Floats = np.arange(1, 100) / 100
"""Probabilities from which a patient would be treated as positive."""
_ODDS: Floats = THRESHOLDS / (1 - THRESHOLDS)


def net_benefit(sample: Sample, weights: Floats) -> Floats:
    """Compute the net benefit at each of `THRESHOLDS`, ``(R, 99)``, for ``(R, N)`` weights.

    ``TP / n - FP / n * t / (1 - t)``: true positives for each examination, less the false ones at the price that the
    threshold t puts on them. Never treating has a benefit of 0.
    """
    decided = sample.scores[:, None] >= THRESHOLDS.astype(np.float32)
    true = weights @ (decided & sample.labels[:, None])
    false = weights @ (decided & ~sample.labels[:, None])
    benefit: Floats = (true - false * _ODDS) / weights.sum(axis=1, keepdims=True)
    return benefit


def treat_all(prevalence: float) -> Floats:
    """Net benefit of calling every examination positive, ``(99,)``."""
    return prevalence - (1 - prevalence) * _ODDS
