"""Calibration of scores that are read as probabilities, of many resamples at once.

Each function takes ``(R, N)`` weights, one row for each resample, and returns ``(R,)`` or ``(R, K)`` values, NaN if
undefined.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from bsbatch.evaluation.metrics import bin_of, ratio
from bsbatch.evaluation.performance import BINS
from bsbatch.evaluation.sample import Floats, Sample

_STEPS = 60
"""Newton steps; about ten are needed."""
_CLOSE = 1e-9
"""Size of a step, in logits, at which a fit is finished."""
_FOUND = 1e-3
"""Size of the last step above which a fit has failed: classes that hardly overlap have a slope without bounds."""
_LARGEST = 8.0
"""Largest change of any examination's logit in one step, against overshooting."""


@dataclass(frozen=True, slots=True)
class Reliability:
    """Scores and labels in `BINS` equally wide bins of [0, 1], ``(R, BINS)`` each; NaN in empty bins."""

    shares: Floats
    """Share of all examinations in the bin; 0 if empty."""
    mean_scores: Floats
    fractions: Floats
    """Share of positives in the bin."""

    @classmethod
    def of(cls, sample: Sample, weights: Floats) -> "Reliability":
        """Sort a sample into bins, by scikit-learn's rule (Niculescu-Mizil and Caruana, ICML 2005)."""
        members = (bin_of(sample.scores)[:, None] == np.arange(BINS)).astype(np.float64)
        sizes = weights @ members
        return cls(
            ratio(sizes, weights.sum(axis=1, keepdims=True)),
            ratio(weights @ (members * sample.scores[:, None].astype(np.float64)), sizes),
            ratio(weights @ (members * sample.labels[:, None]), sizes),
        )

    @property
    def prevalence(self) -> Floats:
        """Share of positives, ``(R,)``."""
        return self.average(self.fractions)

    def average(self, values: Floats) -> Floats:
        """Mean over the examinations of ``(R, BINS)`` values of their bins, ``(R,)``."""
        undefined = np.isnan(self.shares).any(axis=1)
        means: Floats = np.where(self.shares > 0, self.shares * np.nan_to_num(values), 0.0).sum(axis=1)
        return np.where(undefined, np.nan, means)


def calibration_error(bins: Reliability) -> Floats:
    """Compute the expected calibration error: the mean distance of score and share of positives, over the bins.

    Source: Naeini, Cooper and Hauskrecht, AAAI 2015.
    """
    return bins.average(np.abs(bins.fractions - bins.mean_scores))


def murphy(bins: Reliability, brier: Floats) -> dict[str, Floats]:
    """Split ``(R,)`` Brier scores: ``brier = reliability - resolution + uncertainty + within_bins``.

    The last term is what the bins hide: variance and covariance of scores within them (Stephenson, Coelho and Jolliffe,
    Weather and Forecasting 2008;23:752-757). Source of the others: Murphy, J Appl Meteorol 1973;12:595-600.
    """
    prevalence = bins.prevalence
    reliability = bins.average((bins.mean_scores - bins.fractions) ** 2)
    resolution = bins.average((bins.fractions - prevalence[:, None]) ** 2)
    uncertainty = prevalence * (1 - prevalence)
    return {
        "reliability": reliability,
        "resolution": resolution,
        "uncertainty": uncertainty,
        "within_bins": brier - (reliability - resolution + uncertainty),
    }


def slope(sample: Sample, weights: Floats) -> Floats:
    """Fit the slope of the labels' log odds on the scores' logits by maximum likelihood; 1 is ideal.

    Below 1, scores are too extreme. NaN if no finite slope exists: one class only, or classes that a threshold parts.
    Source: Cox, Biometrika 1958;45:562-565; Van Calster et al., BMC Medicine 2019;17:230.
    """
    logits, fit = sample.logits, _Fit(sample, weights)
    level, gain, size = np.zeros(len(weights)), np.zeros(len(weights)), np.full(len(weights), np.inf)
    for _ in range(_STEPS):
        errors, curvature = fit.at(level[:, None] + gain[:, None] * logits)
        totals = errors.sum(axis=1), errors @ logits
        flat, cross, steep = curvature.sum(axis=1), curvature @ logits, curvature @ logits**2
        determinant = flat * steep - cross**2
        steps = np.stack(
            [
                ratio(steep * totals[0] - cross * totals[1], determinant),
                ratio(flat * totals[1] - cross * totals[0], determinant),
            ]
        )
        size = np.abs(steps[0]) + np.abs(steps[1]) * np.abs(logits).max()
        steps *= np.minimum(1.0, ratio(np.full_like(size, _LARGEST), size))
        level, gain = level + np.nan_to_num(steps[0]), gain + np.nan_to_num(steps[1])
        if np.nanmax(size, initial=0.0) < _CLOSE:
            break
    return np.where(_overlap(sample, weights) & (size < _FOUND), gain, np.nan)


def intercept(sample: Sample, weights: Floats) -> Floats:
    """Fit the shift of all logits that makes the mean score the share of positives; 0 is ideal.

    Below 0, scores are too high (calibration in the large). NaN with one class only. Source: as of `slope`.
    """
    fit, level = _Fit(sample, weights), np.zeros(len(weights))
    for _ in range(_STEPS):
        errors, curvature = fit.at(level[:, None] + sample.logits)
        step = np.clip(ratio(errors.sum(axis=1), curvature.sum(axis=1)), -_LARGEST, _LARGEST)
        level = level + np.nan_to_num(step)
        if np.nanmax(np.abs(step), initial=0.0) < _CLOSE:
            break
    positives, total = weights @ sample.labels, weights.sum(axis=1)
    return np.where((positives > 0) & (positives < total), level, np.nan)


@dataclass(frozen=True, slots=True)
class _Fit:
    """Derivatives of the weighted log likelihood of a logistic regression."""

    sample: Sample
    weights: Floats

    def at(self, logits: Floats) -> tuple[Floats, Floats]:
        """Residuals and curvature of each examination, ``(R, N)`` each, at ``(R, N)`` predicted logits."""
        predicted = expit(logits)
        return self.weights * (self.sample.labels - predicted), self.weights * predicted * (1 - predicted)


def _overlap(sample: Sample, weights: Floats) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """True for resamples whose classes overlap, so that a finite slope exists (Albert and Anderson, 1984)."""
    drawn = weights > 0
    lows, highs = [], []
    for of_class in (sample.labels, ~sample.labels):
        lows.append(np.where(drawn & of_class, sample.logits, np.inf).min(axis=1))
        highs.append(np.where(drawn & of_class, sample.logits, -np.inf).max(axis=1))
    overlap: np.ndarray[tuple[int], np.dtype[np.bool_]] = (lows[0] < highs[1]) & (lows[1] < highs[0])
    return overlap
