import numpy as np
import pytest
from benchmarks.pairing import Pair, Spread, measure_pairs
from hypothesis import given
from hypothesis import strategies as st


def test_sides_take_turns_and_ours_begins() -> None:
    calls: list[str] = []

    def side(name: str) -> float:
        calls.append(name)
        return float(len(calls))

    pairs = measure_pairs(lambda: side("A"), lambda: side("B"), 3)

    assert "".join(calls) == "ABABAB"
    assert pairs == [Pair(1, 2), Pair(3, 4), Pair(5, 6)]


def test_a_ratio_is_our_rate_divided_by_theirs() -> None:
    assert Pair(ours=5.0, theirs=2.0).ratio == 2.5


@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=9))
def test_the_spread_is_numpys_median_and_range(values: list[float]) -> None:
    spread = Spread.of(values)

    assert (spread.median, spread.low, spread.high) == pytest.approx(
        (np.median(values), np.min(values), np.max(values))
    )
