"""After changes of the archive and runs that end early, the tables equal those of one run over the last state."""

from pathlib import Path

import pytest
from tests.end_to_end.histories import differences, play


@pytest.mark.parametrize("seed", range(12))
def test_any_history_ends_as_one_run_over_the_last_state(seed: int, tmp_path: Path) -> None:
    assert differences(play(tmp_path, seed), tmp_path / "fresh") == []
