"""Latency in trtexec's terms: minimum, maximum, mean, median, percentiles, coefficient of variation."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

UNSTABLE = 0.025
"""Coefficient of variation beyond which trtexec calls a measurement unstable."""


@dataclass(frozen=True, slots=True)
class Latency:
    """The distribution of one series of times, in seconds."""

    minimum: float
    maximum: float
    mean: float
    median: float
    p90: float
    p95: float
    p99: float
    variation: float | None
    """Coefficient of variation: standard deviation (of a sample) over the mean; None for a single value."""

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Self:
        """Summarise at least one value."""
        mean = statistics.fmean(seconds)
        return cls(
            minimum=min(seconds),
            maximum=max(seconds),
            mean=mean,
            median=percentile(seconds, 50),
            p90=percentile(seconds, 90),
            p95=percentile(seconds, 95),
            p99=percentile(seconds, 99),
            variation=statistics.stdev(seconds) / mean if len(seconds) > 1 and mean else None,
        )

    @property
    def is_unstable(self) -> bool:
        """True if the coefficient of variation exceeds `UNSTABLE`."""
        return self.variation is not None and self.variation > UNSTABLE


def percentile(values: Sequence[float], percent: float) -> float:
    """Return a percentile with linear interpolation between the two nearest ranks (type 7 of Hyndman and Fan, 1996)."""
    ranked = sorted(values)
    rank = (len(ranked) - 1) * percent / 100
    below = math.floor(rank)
    above = min(below + 1, len(ranked) - 1)
    return ranked[below] + (ranked[above] - ranked[below]) * (rank - below)
