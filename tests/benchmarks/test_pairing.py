import numpy as np
import pytest
from benchmarks.pairing import Pair, Spread, paired
from hypothesis import given
from hypothesis import strategies as st


def test_sides_take_turns_and_ours_begins() -> None:
    calls: list[str] = []

    def side(name: str) -> float:
        calls.append(name)
        return float(len(calls))

    pairs = paired(lambda: side("A"), lambda: side("B"), 3)

    assert "".join(calls) == "ABABAB"
    assert pairs == [Pair(1, 2), Pair(3, 4), Pair(5, 6)]


def test_a_ratio_says_how_many_times_faster_we_are() -> None:
    assert Pair(ours=5.0, theirs=2.0).ratio == 2.5


@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=9))
def test_the_spread_is_numpys_median_and_range(values: list[float]) -> None:
    found = Spread.of(values)

    assert (found.median, found.low, found.high) == pytest.approx((np.median(values), np.min(values), np.max(values)))
