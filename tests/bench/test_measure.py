from dataclasses import dataclass, field

import pytest

from bsbatch.bench.measure import LATENCY, Turn, measure
from bsbatch.bench.settings import Pace


@dataclass(slots=True)
class Machine:
    """Takes turns of given lengths on a clock of its own; the last length goes on for ever."""

    lengths: list[float]
    parts: dict[str, float] = field(default_factory=dict)
    busy: dict[str, float] = field(default_factory=dict)
    now: float = 100.0
    taken: int = 0

    def clock(self) -> float:
        return self.now

    def turn(self) -> Turn:
        length = self.lengths[min(self.taken, len(self.lengths) - 1)]
        self.taken += 1
        self.now += length
        return Turn(4, {LATENCY: length} | self.parts, self.busy)


def test_warm_up_is_not_counted() -> None:
    machine = Machine([9.0, 1.0])

    timing = measure(machine.turn, Pace(warmup=5.0, duration=3.0, iterations=1), machine.clock)

    assert (timing.turns, timing.series[LATENCY].maximum, machine.taken) == (3, 1.0, 4)


def test_one_turn_warms_up_where_no_time_is_given_for_it() -> None:
    machine = Machine([9.0, 1.0])

    timing = measure(machine.turn, Pace(warmup=0.0, duration=0.0, iterations=2), machine.clock)

    assert (timing.turns, timing.series[LATENCY].maximum) == (2, 1.0)


def test_short_turns_go_on_for_the_duration() -> None:
    machine = Machine([0.5])

    timing = measure(machine.turn, Pace(warmup=0.0, duration=10.0, iterations=3), machine.clock)

    assert (timing.turns, timing.items) == (20, 80)


def test_long_turns_go_on_for_their_number() -> None:
    machine = Machine([60.0])

    timing = measure(machine.turn, Pace(warmup=0.0, duration=1.0, iterations=3), machine.clock)

    assert timing.turns == 3
    assert timing.throughput == pytest.approx(4 / 60)


def test_parts_of_a_turn_that_a_backend_knows_have_figures_of_their_own() -> None:
    machine = Machine([1.0], parts={"H2D": 0.2, "compute": 0.7, "D2H": 0.1})

    series = measure(machine.turn, Pace(iterations=2), machine.clock).series

    assert list(series) == [LATENCY, "H2D", "compute", "D2H"]
    assert (series["compute"].median, series[LATENCY].median) == (0.7, 1.0)


def test_shares_are_those_of_busy_time_largest_first() -> None:
    machine = Machine([1.0], busy={"header": 0.5, "infer": 1.5})

    shares = measure(machine.turn, Pace(iterations=2), machine.clock).shares

    assert list(shares.items()) == [("infer", 0.75), ("header", 0.25)]


def test_a_stage_without_parts_has_no_shares() -> None:
    machine = Machine([1.0])

    assert measure(machine.turn, Pace(), machine.clock).shares == {}
