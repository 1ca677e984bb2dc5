import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsbatch.bench.latency import UNSTABLE, Latency, percentile

SECONDS = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=40)


@settings(max_examples=100, deadline=None)
@given(SECONDS, st.floats(0, 100))
def test_percentiles_are_numpys(seconds: list[float], percent: float) -> None:
    assert percentile(seconds, percent) == pytest.approx(np.percentile(seconds, percent), rel=1e-9)


@settings(max_examples=100, deadline=None)
@given(SECONDS.filter(lambda seconds: len(seconds) > 1))
def test_figures_are_numpys(seconds: list[float]) -> None:
    found = Latency.of(seconds)
    expected = (min(seconds), max(seconds), np.mean(seconds), np.median(seconds), *np.percentile(seconds, [90, 95, 99]))
    got = (found.minimum, found.maximum, found.mean, found.median, found.p90, found.p95, found.p99)
    assert got == pytest.approx(expected, rel=1e-9)
    assert found.variation == pytest.approx(np.std(seconds, ddof=1) / np.mean(seconds), rel=1e-6, abs=1e-9)


def test_a_single_value_does_not_tell_how_values_scatter() -> None:
    found = Latency.of([0.2])
    assert (found.minimum, found.p99, found.variation, found.is_unstable) == (0.2, 0.2, None, False)


@pytest.mark.parametrize(("spread", "is_unstable"), [(0.9 * UNSTABLE, False), (1.1 * UNSTABLE, True)])
def test_values_that_scatter_beyond_the_limit_are_unstable(spread: float, is_unstable: bool) -> None:
    deviation = spread / np.sqrt(2)  # of two values around 1
    assert Latency.of([1 - deviation, 1 + deviation]).is_unstable is is_unstable
