"""Measure two sides in turn, A B A B ..., so that other load on the machine affects both."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

Measure = Callable[[], float]
"""Returns items per second."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Rates of two sides in successive measurements, items per second."""

    ours: float
    theirs: float

    @property
    def ratio(self) -> float:
        """Our rate divided by theirs."""
        return self.ours / self.theirs


def measure_pairs(ours: Measure, theirs: Measure, pairs: int) -> list[Pair]:
    """Measure both sides in turn, ours first."""
    return [Pair(ours(), theirs()) for _ in range(pairs)]


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and range of repeated measurements."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        """Compute median and range of at least one value."""
        return cls(statistics.median(values), min(values), max(values))
