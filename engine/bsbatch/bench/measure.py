"""Timing of repeated turns: warm up, then measure for a duration and a number of turns."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from bsbatch.bench.latency import Latency
from bsbatch.bench.settings import Pace
from bsbatch.run.report import ClusterFacts

LATENCY = "latency"
"""Series that every turn has: its whole time."""
COMPUTE, WAITED = "compute", "waited"
"""Series of a backend on devices: time computing, and time without anything to compute."""

Clock = Callable[[], float]
"""Returns seconds since any start."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One call of the measured function."""

    items: int
    """Scans or files."""
    seconds: Mapping[str, float]
    """`LATENCY` and the known parts of it, seconds by name; the same names in every turn."""
    busy: Mapping[str, float] = field(default_factory=dict)
    """Busy seconds by stage, added up over all threads."""
    cluster: ClusterFacts | None = None
    """Counts of the workers of a cluster since the first turn; None without a cluster."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The timing of all turns."""

    turns: int
    items: int
    """Scans or files of all turns."""
    throughput: float
    """Items per second of latency."""
    series: Mapping[str, Latency]
    """By name, `LATENCY` first."""
    shares: Mapping[str, float]
    """Share of the busy seconds by stage, in [0, 1], the largest first; empty if nothing was busy."""
    cluster: ClusterFacts | None = None
    """Counts of the workers of a cluster, warm-up included; None without a cluster."""

    @property
    def computing(self) -> float | None:
        """Share of the time, in [0, 1], in which the devices computed; None without devices."""
        if WAITED not in self.series:
            return None
        compute, waited = self.series[COMPUTE].mean, self.series[WAITED].mean
        return compute / (compute + waited)


def measure(turn: Callable[[], Turn], pace: Pace, clock: Clock = time.perf_counter) -> Timing:
    """Warm up, then take turns until both duration and number are reached."""
    _repeat(turn, pace.warmup, 1, clock)
    return _timing(_repeat(turn, pace.duration, pace.iterations or 1, clock))


def _repeat(turn: Callable[[], Turn], duration: float, iterations: int, clock: Clock) -> list[Turn]:
    turns: list[Turn] = []
    started = clock()
    while len(turns) < iterations or clock() - started < duration:
        turns.append(turn())
    return turns


def _timing(turns: list[Turn]) -> Timing:
    items, busy = sum(turn.items for turn in turns), sum(turn.seconds[LATENCY] for turn in turns)
    return Timing(
        turns=len(turns),
        items=items,
        throughput=items / busy if busy else 0.0,
        series={name: Latency.of([turn.seconds[name] for turn in turns]) for name in turns[0].seconds},
        shares=shares_of(turn.busy for turn in turns),
        cluster=turns[-1].cluster,
    )


def shares_of(busy: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the share of the busy seconds by stage, in [0, 1], the largest first."""
    seconds: Counter[str] = Counter()
    for stages in busy:
        seconds.update(stages)
    total = seconds.total()
    return {stage: spent / total for stage, spent in seconds.most_common()} if total else {}
