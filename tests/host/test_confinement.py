import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

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


def write_confined(path: str) -> tuple[int, int]:
    with confined(MIB):
        Path(path).write_bytes(b"a")
    return resource.getrlimit(resource.RLIMIT_CORE)


def test_a_process_allocates_no_more_than_its_limit_and_is_free_again_afterwards(isolation: Isolation) -> None:
    assert isolation.call(allocate, 40, 60) == 40 * MIB
    with pytest.raises(MemoryError):
        isolation.call(allocate, 80, 60)
    assert len(isolation.call(bytes, 200 * MIB)) == 200 * MIB


def test_a_confined_process_writes_no_file(isolation: Isolation, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File too large"):
        isolation.call(write_confined, str(tmp_path / "a"))


def test_the_limit_is_the_memory_that_a_process_has_and_more() -> None:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    now = sum(int(status[name].split()[0]) * 1024 for name in ("VmData", "VmStk"))

    assert _limit(5 * MIB) == pytest.approx(now + 5 * MIB, abs=2 * MIB)
