from pathlib import Path

from tests.bombs import MIB
from tests.container_bombs import HOSTILE
from tests.end_to_end.bombs import Measured, measure
from tests.end_to_end.container_bombs import find_fault, write_archive

IDLE = Measured(seconds=0.0, peak=250 * MIB, rows={})
"""``python -m tests.end_to_end.container_bombs`` measures it."""


def test_hostile_containers_end_as_rows_in_bounded_memory_and_cost_no_sound_scan(tmp_path: Path) -> None:
    write_archive(tmp_path / "archive", list(HOSTILE))

    assert find_fault(list(HOSTILE), measure(tmp_path / "archive", tmp_path / "out", threads=2), IDLE) == ""
