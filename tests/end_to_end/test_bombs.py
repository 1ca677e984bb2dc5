from pathlib import Path

from tests.bombs import BOMBS, MIB
from tests.end_to_end.bombs import Measured, find_fault, measure, write_bombs, write_sound

SLOW = {"deflated sequence", "header items", "header value without end"} | {k for k in BOMBS if "largest" in k}
IDLE = Measured(seconds=0.0, peak=250 * MIB, rows={})
"""``python -m tests.end_to_end.bombs`` measures it; 4 processes here."""


def test_bombs_fail_with_their_reasons_in_bounded_memory_and_cost_no_sound_scan(tmp_path: Path) -> None:
    kinds = [kind for kind in BOMBS if kind not in SLOW]
    write_sound(tmp_path / "archive", 5)
    for kind in kinds:
        write_bombs(tmp_path / "archive", kind, 1)

    assert find_fault(kinds, measure(tmp_path / "archive", tmp_path / "out", threads=2), IDLE) == ""
