"""After changes of the archive and runs that end early, the tables equal those of one run over the last state."""

from pathlib import Path

import pytest
from tests.end_to_end.histories import differences, play
from tests.sources.storages import PACKERS, PackedStorage


@pytest.mark.parametrize("seed", range(12))
def test_any_history_ends_as_one_run_over_the_last_state(seed: int, tmp_path: Path) -> None:
    assert differences(play(tmp_path, seed), tmp_path / "fresh") == []


@pytest.mark.parametrize("name", PACKERS)
def test_so_does_a_history_of_a_container(name: str, tmp_path: Path) -> None:
    storage = PackedStorage(tmp_path / "packed", name)
    assert differences(play(tmp_path, 40, storage), tmp_path / "fresh") == []
