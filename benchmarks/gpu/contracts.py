"""A step of `make gpu`: the contract tests of the device layer on the driver of this machine."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from benchmarks.gpu.machine import require_gpu
from benchmarks.gpu.step import Setup, run_step
from benchmarks.processes import ROOT, ProcessFailedError
from benchmarks.results import Line

_LAZILY = "import os, pytest, sys; sys.setdlopenflags(os.RTLD_LAZY); sys.exit(pytest.main(sys.argv[1:]))"


def measure(setup: Setup) -> Iterator[Line]:
    """Yield the number of tests on the GPU, and how many failed and were skipped."""
    require_gpu()
    yield from run_device_tests(setup.folder / "contracts.xml")


def run_device_tests(report: Path, selection: str = "not fake", prefix: Sequence[str] = ()) -> Iterator[Line]:
    """Run tests of ``tests/contracts/test_devices.py``, by default all that use the driver.

    Parameters
    ----------
    report
        File for pytest's report.
    selection
        As for pytest's ``-k``.
    prefix
        A command that runs the tests.

    Raises
    ------
    ProcessFailedError
        A test failed or was skipped, none ran, or the command found an error.
    """
    # without the project's settings and other plugins: another pytest may not know them, and newer packages may warn
    options = ["-c", os.devnull, "--rootdir", str(ROOT), "--import-mode=importlib", "-p", "no:cacheprovider", "-rs"]
    tests = ["-k", selection, "--junitxml", str(report), "tests/contracts/test_devices.py"]
    command, plain = [*prefix, sys.executable, "-c", _LAZILY], {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run([*command, *options, *tests], cwd=ROOT, env={**os.environ, **plain}, check=False)
    counts = next(ET.parse(report).iter("testsuite")).attrib if report.exists() else {}
    found = {name: int(counts.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    yield {**{name: str(number) for name, number in found.items()}, "exit code": str(done.returncode)}
    if done.returncode or found["skipped"] or not found["tests"]:
        raise ProcessFailedError(f"exit code {done.returncode}, {found}")


if __name__ == "__main__":
    run_step(measure)
