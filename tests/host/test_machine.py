import os
from pathlib import Path

import pytest

from bsbatch.host import machine
from bsbatch.host.machine import processor, usable_cpus, usable_memory


def test_processors_follow_the_affinity() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cpus() == 1
    finally:
        os.sched_setaffinity(0, before)

    assert 1 <= usable_cpus() <= len(before)


def test_some_memory_is_usable() -> None:
    assert 0 < usable_memory() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_memory_of_cached_files_is_usable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  4096 kB\nMemFree:  1 kB\nMemAvailable:  2048 kB\n")
    monkeypatch.setattr(machine, "_MEMINFO", tmp_path / "meminfo")
    assert usable_memory() == 2048 * 1024


X86 = "processor\t: {n}\nvendor_id\t: Maker\nmodel name\t: Chip\ncpu MHz\t\t: {mhz}\nflags\t\t: {flags}\n\n"


@pytest.mark.parametrize(
    ("mhz", "flags", "is_same"),
    [("1000", "avx avx2", True), ("2000", "avx avx2", True), ("1000", "avx avx512f", False)],
)
def test_a_processor_is_identified_by_its_instruction_sets_not_its_speed(
    mhz: str, flags: str, is_same: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    found = []
    for values in ({"mhz": "1000", "flags": "avx avx2"}, {"mhz": mhz, "flags": flags}):
        (tmp_path / "cpuinfo").write_text("".join(X86.format(n=n, **values) for n in range(2)))
        found.append(processor())

    assert "Maker Chip" in found[0]
    assert (found[0] == found[1]) is is_same
