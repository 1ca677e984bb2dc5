"""A slice of ``python -m tests.end_to_end.fuzz``."""

from itertools import islice
from pathlib import Path

import pytest
from tests.end_to_end.fuzz import Tally, faults, mutants

pytestmark = pytest.mark.filterwarnings("ignore")


def test_a_run_over_mutated_objects_ends_and_accounts_for_each(tmp_path: Path) -> None:
    tally = Tally()

    assert list(faults(120, 2, tmp_path, tally)) == []
    assert sum(tally.reasons.values()) > 120 + 1 + 3 * 2
    assert tally.reasons["used"] > 12


def test_a_seed_gives_the_same_objects_again() -> None:
    assert list(islice(mutants(20, 7), 20)) == list(islice(mutants(20, 7), 20))
