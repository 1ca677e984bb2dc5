"""Percentile intervals from patients drawn with replacement.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13. Whole patients are drawn, because the
examinations of one patient are not independent. A resample without one of the sample's classes has no ROC curve: it is
drawn again, and counted.
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
"""Weights that are held at a time: 16 MiB."""

Statistics = Callable[[Floats], Mapping[str, Floats]]
"""``(R, N)`` weights -> ``(R,)`` or ``(R, K)`` figures by name."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval; NaN where it is not defined."""

    value: float
    low: float
    high: float
    undefined: int = 0
    """Resamples in which the figure is not defined; the interval is that of the others."""


@dataclass(frozen=True, slots=True)
class Replicates:
    """Figures of all resamples."""

    figures: dict[str, Floats]
    """``(resamples,)`` or ``(resamples, K)`` by name."""
    redrawn: int
    """Resamples that held one class only and were drawn again."""

    def interval(self, name: str, value: float) -> Interval:
        """The interval of a figure beside its value in the sample."""
        return interval(value, self.figures[name])


def bootstrap(sample: Sample, resampling: Resampling, statistics: Statistics) -> Replicates:
    """Draw the patients and compute the statistics of every resample."""
    generator = np.random.default_rng(resampling.seed)
    parts: list[Mapping[str, Floats]] = []
    redrawn = 0
    for rows in _chunks(resampling.resamples, max(sample.size, sample.patient_count)):
        drawn, again = draw(generator, sample, rows)
        redrawn += again
        parts.append(statistics(weights_of(drawn, sample)))
    return Replicates({name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, redrawn)


def draw(generator: np.random.Generator, sample: Sample, resamples: int) -> tuple[NDArray[np.intp], int]:
    """Draw as many patients as there are, with replacement, for each resample.

    Returns
    -------
    ``(resamples, patients)`` numbers of patients, each row with every class that the sample has, and how many rows
    were drawn again to come to that.
    """
    patients = sample.patient_count
    drawn = generator.integers(0, patients, (resamples, patients))
    with_positive = np.bincount(sample.patients, sample.labels, patients) > 0
    with_negative = np.bincount(sample.patients, ~sample.labels, patients) > 0
    redrawn = 0
    while len(lacking := _lacking(drawn, with_positive, with_negative)):
        drawn[lacking] = generator.integers(0, patients, (len(lacking), patients))
        redrawn += len(lacking)
    return drawn, redrawn


def weights_of(drawn: NDArray[np.intp], sample: Sample) -> Floats:
    """``(R, N)`` how often each examination is in each resample: as often as its patient was drawn."""
    resamples, patients = drawn.shape
    cells = (np.arange(resamples)[:, None] * patients + drawn).ravel()
    times = np.bincount(cells, minlength=resamples * patients).reshape(resamples, patients)
    return times[:, sample.patients].astype(np.float64)


def interval(value: float, replicates: Floats) -> Interval:
    """The 2.5th and 97.5th percentiles of ``(R,)`` replicates; those that are NaN are left out and counted."""
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


def _lacking(
    drawn: NDArray[np.intp], with_positive: NDArray[np.bool_], with_negative: NDArray[np.bool_]
) -> NDArray[np.intp]:
    """Rows without a class that the sample has."""
    lacking = np.zeros(len(drawn), bool)
    for present in (with_positive, with_negative):
        if present.any():
            lacking |= ~present[drawn].any(axis=1)
    return np.flatnonzero(lacking)
