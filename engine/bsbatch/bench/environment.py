"""The machine and the versions that a measurement belongs to."""

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import bsbatch
from bsbatch.cuda import gpu
from bsbatch.host.machine import output_of, usable_cpus, usable_memory
from bsbatch.requirements import version_of

_CPUINFO = Path("/proc/cpuinfo")
_MAX_FREQUENCY = Path("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")
_VECTOR_FLAGS = frozenset(
    {"sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "asimd"}
)
_PACKAGES = ("numpy", "opencv-python-headless", "pydicom", "pyarrow", "onnxruntime", "mnn")


@dataclass(frozen=True, slots=True)
class Processor:
    """The processor as the operating system describes it."""

    name: str
    flags: frozenset[str]
    """Instruction sets, by the kernel's names."""
    cores: int | None
    """Physical cores; None if the kernel does not distinguish them from threads."""
    max_hertz: float | None
    """Highest frequency of a core, Hz; None if it cannot be read, as in most virtual machines."""

    @classmethod
    def here(cls, cpuinfo: Path = _CPUINFO, max_frequency: Path = _MAX_FREQUENCY) -> Self:
        """Read the processor of this machine."""
        text, khz = _text_of(cpuinfo), _text_of(max_frequency)
        cores = set(zip(_values(text, "physical id"), _values(text, "core id"), strict=False))
        name = next(iter(_values(text, "model name")), platform.processor() or platform.machine())
        flags = " ".join(_values(text, "flags")[:1] + _values(text, "Features")[:1])
        return cls(name, frozenset(flags.split()), len(cores) or None, int(khz) * 1e3 if khz.isdigit() else None)


def environment(processor: Processor, packages: tuple[str, ...] = _PACKAGES) -> dict[str, object]:
    """Return machine, versions, commit, load and date for the JSON file."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "bsbatch": bsbatch.__version__,
        "commit": commit(),
        "machine": {
            "processor": processor.name,
            "instructions": sorted(processor.flags & _VECTOR_FLAGS),
            "cores": processor.cores,
            "max_hertz": processor.max_hertz,
            "usable_cpus": usable_cpus(),
            "usable_memory_gib": round(usable_memory() / 2**30, 1),
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "load_average": [round(load, 2) for load in os.getloadavg()],
        },
        "versions": {"python": platform.python_version(), **_versions(packages)},
    }


def commit() -> str | None:
    """Return the commit of the checkout of bsbatch, with ``+`` if files differ; None outside of a checkout."""
    git = ["git", "-C", os.fspath(Path(bsbatch.__file__).parent)]
    is_tracked = output_of([*git, "ls-files", "--error-unmatch", "__init__.py"]) is not None
    head = output_of([*git, "rev-parse", "HEAD"]) if is_tracked else None  # a venv may lie in somebody else's checkout
    if head is None:
        return None
    return head[:12] + ("+" if output_of([*git, "status", "--porcelain", "--untracked-files=no"]) else "")


def _versions(packages: tuple[str, ...]) -> Mapping[str, str]:
    found = {name: version_of(name) for name in packages} | gpu.versions()
    return {name: version for name, version in found.items() if version is not None}


def _values(cpuinfo: str, name: str) -> list[str]:
    """Return the values of one field, for all processors in their order."""
    return re.findall(rf"^{name}\s*: (.*)$", cpuinfo, re.MULTILINE)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:  # other systems have no such file
        return ""
