import hashlib
import os
import platform
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


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "250000 100000"}, 2),
        ({"cpu.max": "350000 100000"}, 4),
        ({"cpu.max": "20000 100000"}, 1),
        ({"cpu.max": "1600000 100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "0"}, 8),
    ],
    ids=str,
)
def test_the_quota_of_the_control_group_limits_the_processors(
    files: dict[str, str], expected: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    write(tmp_path, files)
    assert usable_cpus() == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 2048 * 1024),
        ({"memory.max": "max"}, 2048 * 1024),
        ({"memory.max": "5000"}, 5000),
        ({"memory.max": str(1 << 40)}, 2048 * 1024),
        ({"memory/memory.limit_in_bytes": "4000", "memory.max": "5000"}, 4000),
    ],
    ids=str,
)
def test_the_limit_of_the_control_group_limits_the_memory(
    files: dict[str, str], expected: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr(machine, "_MEMINFO", tmp_path / "meminfo")
    write(tmp_path, {"meminfo": "MemAvailable:  2048 kB\n", **files})
    assert usable_memory() == expected


def test_a_value_with_a_colon_belongs_to_the_processor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    assert processor() == platform.machine()
    write(tmp_path, {"cpuinfo": "vendor_id\t: Maker\nmodel name\t: Chip: 9\nno value\n"})
    assert processor().startswith(f"{platform.machine()} Maker Chip: 9 ")


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


def test_memory_is_that_of_the_machine_where_the_system_has_no_account(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    for text in (None, "MemTotal: 1 kB\n", "MemAvailable: many kB\n"):
        monkeypatch.setattr(machine, "_MEMINFO", tmp_path / "meminfo")
        write(tmp_path, {} if text is None else {"meminfo": text})
        assert usable_memory() == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_processors_are_counted_where_there_is_no_affinity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.delattr(os, "sched_getaffinity")
    for count, expected in ((5, 5), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        assert usable_cpus() == expected


ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n\n"


def test_the_name_of_a_processor_ends_with_a_digest_of_its_instruction_sets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    for text, known, flags in (
        (X86.format(n=0, mhz=1, flags="avx"), "Maker Chip", "avx "),
        (ARM, "0x41 0xd0c", " fp asimd"),
    ):
        write(tmp_path, {"cpuinfo": text})
        digest = hashlib.sha256(flags.encode()).hexdigest()[:8]
        assert processor() == f"{platform.machine()} {known} {digest}"
