import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bsbatch.host import confinement
from bsbatch.host.confinement import _limit, confined
from bsbatch.host.workers import Isolation

MIB = 1 << 20


@pytest.fixture
def isolation(monkeypatch: pytest.MonkeyPatch) -> Iterator[Isolation]:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    with Isolation() as workers:
        yield workers


def allocate(megabytes: int, limit: int) -> int:
    with confined(limit * MIB):
        return len(bytearray(megabytes * MIB))


def allocate_below(before: int | None, megabytes: int, limit: int) -> tuple[int, bool]:
    """Allocate under an earlier limit, in MiB beyond the present data; return the bytes, and if it is as it was."""
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    limits = hard if before is None else _limit(before * MIB), hard
    resource.setrlimit(resource.RLIMIT_DATA, limits)
    return allocate(megabytes, limit), resource.getrlimit(resource.RLIMIT_DATA) == limits


def write_confined(path: str) -> None:
    with confined(MIB):
        Path(path).write_bytes(b"a")


def limits_of_files() -> set[tuple[int, int]]:
    with confined(MIB):
        pass
    return {resource.getrlimit(kind) for kind in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE)}


def test_a_process_allocates_no_more_than_its_limit_and_is_free_again_afterwards(isolation: Isolation) -> None:
    assert isolation.call(allocate, 40, 60) == 40 * MIB
    with pytest.raises(MemoryError):
        isolation.call(allocate, 80, 60)
    assert len(isolation.call(bytes, 200 * MIB)) == 200 * MIB


def test_a_confined_process_writes_no_file(isolation: Isolation, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File too large"):
        isolation.call(write_confined, str(tmp_path / "a"))


def test_a_confined_process_can_take_back_neither_files_nor_core_dumps(isolation: Isolation) -> None:
    assert isolation.call(limits_of_files) == {(0, 0)}


@pytest.mark.parametrize("before", [None, 50, 400])
def test_of_two_limits_the_lower_one_holds_and_the_earlier_one_stays(isolation: Isolation, before: int | None) -> None:
    least = min(before or 60, 60)
    assert isolation.call(allocate_below, before, least - 20, 60) == ((least - 20) * MIB, True)
    with pytest.raises(MemoryError):
        isolation.call(allocate_below, before, least + 20, 60)


def test_without_an_account_of_memory_there_is_no_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(confinement, "_STATM", tmp_path / "absent")
    assert _limit(MIB) == resource.RLIM_INFINITY


def test_the_limit_is_the_memory_that_a_process_has_and_more() -> None:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    now = sum(int(status[name].split()[0]) * 1024 for name in ("VmData", "VmStk"))

    assert _limit(5 * MIB) == pytest.approx(now + 5 * MIB, abs=2 * MIB)
