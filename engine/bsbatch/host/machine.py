"""Processors, memory and system programs that this process may use."""

import hashlib
import os
import platform
import subprocess
from pathlib import Path

_PROGRAM_SECONDS = 10.0
_CGROUP = Path("/sys/fs/cgroup")
_CPUINFO = Path("/proc/cpuinfo")
_MEMINFO = Path("/proc/meminfo")
_IDENTIFYING = frozenset(
    {"vendor_id", "cpu family", "model", "model name", "stepping", "flags"}
    | {"CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Features"}
)
"""Lines of ``/proc/cpuinfo`` that do not change over time: first those of x86, then those of Arm."""


def usable_cpus() -> int:
    """Number of processors of this process: its CPU affinity, limited by the quota of its control group."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cpu_quota()
    return max(1, allowed if quota is None else min(allowed, round(quota)))


def processor() -> str:
    """Processor by maker, model and a digest of its instruction sets, as reported by the operating system."""
    try:
        first = _CPUINFO.read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return platform.machine()
    facts = dict(line.split(":", 1) for line in first.splitlines() if ":" in line)
    known = {name.strip(): value.strip() for name, value in facts.items() if name.strip() in _IDENTIFYING}
    flags = hashlib.sha256(" ".join(known.pop(name, "") for name in ("flags", "Features")).encode()).hexdigest()[:8]
    return " ".join([platform.machine(), *known.values(), flags])


def usable_memory() -> int:
    """Bytes that this process may still allocate: available memory, limited by the limit of its control group."""
    free = _available_memory()
    limits = [_number_in(_CGROUP / "memory.max"), _number_in(_CGROUP / "memory/memory.limit_in_bytes")]
    return min([free, *(limit for limit in limits if limit is not None)])


def _cpu_quota() -> float | None:
    """Processors granted by the control group (v2, then v1); None if there is no limit."""
    try:
        quota, period = (_CGROUP / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    limit, length = _number_in(_CGROUP / "cpu/cpu.cfs_quota_us"), _number_in(_CGROUP / "cpu/cpu.cfs_period_us")
    return limit / length if limit is not None and length and limit > 0 else None


def _available_memory() -> int:
    """Bytes that are free or can be freed at once, such as cached files."""
    try:
        lines = dict(line.split(":", 1) for line in _MEMINFO.read_text(encoding="utf-8").splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):  # not Linux
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _number_in(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # absent, or "max"
        return None


def output_of(command: list[str]) -> str | None:
    """Return the stripped output of a system program; None if it is missing, fails or takes over ten seconds."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_PROGRAM_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
