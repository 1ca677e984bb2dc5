"""The search for reference cycles is rare in a run, and as before behind it."""

import gc

import pytest

from bsbatch.host.garbage import collect_rarely


def test_cycles_are_searched_rarely_in_a_block_and_as_before_behind_it() -> None:
    before = gc.get_threshold()
    with collect_rarely():
        assert gc.get_threshold() > before
    assert gc.get_threshold() == before


def test_they_are_searched_as_before_after_an_error() -> None:
    before = gc.get_threshold()
    with pytest.raises(ZeroDivisionError), collect_rarely():
        _ = 1 / 0
    assert gc.get_threshold() == before
