"""A step of `make gpu`: the kernel and a ring of batches under compute-sanitizer."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu.contracts import run_device_tests
from benchmarks.gpu.machine import require_gpu
from benchmarks.gpu.results import STAND_IN
from benchmarks.gpu.step import NotHereError, Setup, run_step
from benchmarks.results import Line

_TOOLKIT = "/usr/local/cuda/bin"
_TOOLS = ("memcheck", "initcheck")
"""The kernel has no shared memory and no barrier, for which racecheck and synccheck are."""
_FOUND = "9"


def find_sanitizer() -> str | None:
    """Return the path of compute-sanitizer: of the system, of the toolkit, or of a wheel; None if there is none."""
    there = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path=_TOOLKIT)
    wheels = (path for folder in sys.path for path in Path(folder, "nvidia").glob("**/compute-sanitizer"))
    return there or next((str(path) for path in wheels if path.is_file()), None)


def measure(setup: Setup) -> Iterator[Line]:
    """Yield the tests of the kernel and of the ring, once for each tool."""
    if require_gpu().name == STAND_IN:
        raise NotHereError("the stand-in for a driver has no GPU to look at")
    sanitizer = find_sanitizer()
    if sanitizer is None:
        raise NotHereError("compute-sanitizer is not installed")
    for tool in _TOOLS:
        command = [sanitizer, "--tool", tool, "--error-exitcode", _FOUND]
        for line in run_device_tests(setup.folder / f"{tool}.xml", "not fake and (the_kernel or a_ring)", command):
            yield {"tool": tool, **line}


if __name__ == "__main__":
    run_step(measure)
