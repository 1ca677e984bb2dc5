"""Two sides in turn, A B A B ..., so that what else the machine does falls on both."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

Measure = Callable[[], float]
"""Gives items in a second."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Rates of two sides that ran one right after the other."""

    ours: float
    theirs: float

    @property
    def ratio(self) -> float:
        """How many times their rate ours is."""
        return self.ours / self.theirs


def paired(ours: Measure, theirs: Measure, pairs: int) -> list[Pair]:
    """Measure both sides in turn, ours first."""
    return [Pair(ours(), theirs()) for _ in range(pairs)]


@dataclass(frozen=True, slots=True)
class Spread:
    """What several measurements of one figure say."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        """Median and range of at least one value."""
        return cls(statistics.median(values), min(values), max(values))
