"""Percentile intervals by bootstrap: patients drawn with replacement.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13. Whole patients are drawn, because the
examinations of one patient are not independent. A resample that lacks a class of the sample has no ROC curve: it is
drawn again and counted.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray

from bsbatch.evaluation.sample import Floats, Sample
from bsbatch.evaluation.settings import Resampling

CONFIDENCE = 0.95
_PERCENTILES = (2.5, 97.5)
_CHUNK = 1 << 21
"""Weights in memory at a time: 16 MiB."""

Statistics = Callable[[Floats], Mapping[str, Floats]]
"""Function from ``(R, N)`` weights to ``(R,)`` or ``(R, K)`` values by name."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A metric with its 95 % interval; NaN if undefined."""

    value: float
    low: float
    high: float
    undefined: int = 0
    """Resamples in which the metric is undefined; the interval is computed from the others."""


@dataclass(frozen=True, slots=True)
class Replicates:
    """Values in all resamples."""

    values: dict[str, Floats]
    """``(resamples,)`` or ``(resamples, K)`` by name."""
    redrawn: int
    """Resamples that held one class only and were drawn again."""

    def interval(self, name: str, value: float) -> Interval:
        """Combine a value in the sample with its interval."""
        return interval(value, self.values[name])


def bootstrap(sample: Sample, resampling: Resampling, statistics: Statistics) -> Replicates:
    """Draw the patients and compute the statistics of each resample."""
    generator = np.random.default_rng(resampling.seed)
    parts: list[Mapping[str, Floats]] = []
    redrawn = 0
    for rows in _chunks(resampling.resamples, max(sample.size, sample.patient_count)):
        drawn, again = draw(generator, sample, rows)
        redrawn += again
        parts.append(statistics(weights_of(drawn, sample)))
    return Replicates({name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, redrawn)


def draw(generator: np.random.Generator, sample: Sample, resamples: int) -> tuple[NDArray[np.intp], int]:
    """Draw as many patients as the sample has, with replacement, for each resample.

    Returns
    -------
    ``(resamples, patients)`` numbers of patients, each row with every class of the sample; and the number of rows that
    were drawn again for that.
    """
    patients = sample.patient_count
    drawn = generator.integers(0, patients, (resamples, patients))
    with_positive = np.bincount(sample.patients, sample.labels, patients) > 0
    with_negative = np.bincount(sample.patients, ~sample.labels, patients) > 0
    redrawn = 0
    while len(lacking := _rows_lacking_a_class(drawn, with_positive, with_negative)):
        drawn[lacking] = generator.integers(0, patients, (len(lacking), patients))
        redrawn += len(lacking)
    return drawn, redrawn


def weights_of(drawn: NDArray[np.intp], sample: Sample) -> Floats:
    """Count each examination in each resample, ``(R, N)``: as often as its patient was drawn."""
    resamples, patients = drawn.shape
    cells = (np.arange(resamples)[:, None] * patients + drawn).ravel()
    times = np.bincount(cells, minlength=resamples * patients).reshape(resamples, patients)
    return times[:, sample.patients].astype(np.float64)


def interval(value: float, replicates: Floats) -> Interval:
    """Compute the 2.5th and 97.5th percentiles of ``(R,)`` replicates; NaN ones are left out and counted."""
    defined = replicates[~np.isnan(replicates)]
    undefined = len(replicates) - len(defined)
    if np.isnan(value) or not len(defined):
        return Interval(value, nan, nan, undefined)
    low, high = np.percentile(defined, _PERCENTILES)
    return Interval(value, float(low), float(high), undefined)


def _chunks(resamples: int, width: int) -> Iterator[int]:
    rows = max(1, _CHUNK // width)
    for start in range(0, resamples, rows):
        yield min(rows, resamples - start)


def _rows_lacking_a_class(
    drawn: NDArray[np.intp], with_positive: NDArray[np.bool_], with_negative: NDArray[np.bool_]
) -> NDArray[np.intp]:
    """Find the rows that lack a class of the sample."""
    lacking = np.zeros(len(drawn), bool)
    for has_class in (with_positive, with_negative):
        if has_class.any():
            lacking |= ~has_class[drawn].any(axis=1)
    return np.flatnonzero(lacking)
