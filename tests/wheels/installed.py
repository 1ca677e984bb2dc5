"""The compiled libraries of both wheels as they were installed: vector widths, bits and speed; a command.

``python -m tests.wheels.installed AARCH64_LIBRARY``, by the Python that the wheel for x86-64 was installed for. Code of
aarch64 runs under qemu. Results go to a program of C, `probe.c`, because the emulated side has no Python.
"""

import os
import runpy
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tests.native.definition import ROUNDING, Floats, Layer, expected

from bsbatch.native.library import LIBRARY, VERSION

_NATIVE = Path(__file__).parents[2] / "engine/bsbatch/native"
_CHANNELS, _POOLED, _SIDE = (1, 64, 64, 128, 128), (False, True, False, True), 64
"""Layers of `probe.c`."""
_TURNS, _PAIRS, _SLOWEST = 40, 5, 1.25
"""Calls in a run, runs of each library, and the largest ratio of their processor times."""
_EMULATOR = ("qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu")
_PAIR_FACTS = ("version", "folder", "magic", "statistics", "image", "counts", "ranges")


@dataclass(frozen=True, slots=True)
class Probe:
    """A library, and the program that calls it."""

    program: Path
    prefix: tuple[str, ...] = ()
    """The emulator."""

    def run(self, turns: int = 1) -> dict[str, str]:
        """Return the facts that it prints."""
        command = [*self.prefix, str(self.program), str(self.program.with_suffix(".features")), str(turns)]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return dict(line.split(maxsplit=1) for line in printed.splitlines())

    def features(self) -> Floats:
        """Return the features of the last run, a row for each width of vectors."""
        side = _SIDE // 2 ** sum(_POOLED)
        return np.fromfile(self.program.with_suffix(".features"), np.float32).reshape(-1, _CHANNELS[-1], side, side)


def main() -> None:
    if not LIBRARY.is_relative_to(sys.prefix):
        sys.exit(f"{LIBRARY} is not installed: use the Python of a clean environment")
    with TemporaryDirectory() as name:
        folder = Path(name)
        built = folder / "libviews.so"
        problem = runpy.run_path(str(_NATIVE / "build.py"))["compile_views"](built)
        if problem:
            sys.exit(problem)
        installed, tree = (_compile("x86_64", path, folder) for path in (LIBRARY, built))
        checks = _check_here(installed, tree) | _check_there(_compile("aarch64", Path(sys.argv[1]), folder), installed)
    for check, passed in checks.items():
        print("pass" if passed else "FAIL", check)
    sys.exit(not all(checks.values()))


def _compile(machine: str, library: Path, folder: Path) -> Probe:
    program = folder / f"probe-{len(list(folder.iterdir()))}"
    options = ("-std=c11", "-O2", f"-I{_NATIVE}")
    source = Path(__file__).with_name("probe.c")
    subprocess.run([f"{machine}-linux-gnu-gcc", *options, source, library.resolve(), "-o", program], check=True)
    return Probe(program, _EMULATOR if machine == "aarch64" else ())


def _check_here(installed: Probe, tree: Probe) -> dict[str, bool]:
    facts, own = installed.run(), tree.run()
    lanes = _lanes_of_this_processor()
    bits = {name for name in facts if not name.startswith("seconds")}
    ratio, seconds = _compare_speed(installed, tree, f"seconds{lanes}")
    return {
        f"x86-64: version {VERSION}": facts["version"] == str(VERSION),
        f"x86-64: {lanes} lanes, as the processor has": facts["lanes"] == str(lanes),
        f"x86-64: {len(bits)} facts have the bits of the library compiled here": _same(facts, own, sorted(bits)),
        f"x86-64: features of {_widths(facts)} lanes are those of the definition": _is_right(installed.features()),
        f"x86-64: {seconds:.3f} s of processor time, {ratio:.2f} of the library compiled here": ratio < _SLOWEST,
    }


def _check_there(emulated: Probe, installed: Probe) -> dict[str, bool]:
    facts = emulated.run()
    return {
        "aarch64: 4 lanes": facts["lanes"] == "4",
        f"aarch64: {', '.join(_PAIR_FACTS)} have the bits of x86-64": _same(facts, installed.run(), _PAIR_FACTS),
        "aarch64: features are those of the definition": _is_right(emulated.features()),
    }


def _compare_speed(installed: Probe, tree: Probe, name: str) -> tuple[float, float]:
    """Return the ratio of the fastest of several runs in turns, and the seconds of the installed library."""
    pairs = [(float(installed.run(_TURNS)[name]), float(tree.run(_TURNS)[name])) for _ in range(_PAIRS)]
    ours, theirs = (min(times) for times in zip(*pairs, strict=True))
    return ours / theirs, ours


def _lanes_of_this_processor() -> int:
    flags = set(Path("/proc/cpuinfo").read_text(encoding="ascii").split("flags")[1].split("\n")[0].split())
    if {"avx512bw", "avx512dq", "avx512vl"} <= flags:
        return 16
    return 8 if {"avx2", "fma"} <= flags else 4


def _widths(facts: dict[str, str]) -> str:
    return ", ".join(name.removeprefix("features") for name in facts if name.startswith("features"))


def _same(facts: dict[str, str], others: dict[str, str], names: list[str] | tuple[str, ...]) -> bool:
    return [facts[name] for name in names] == [others[name] for name in names]


def _is_right(features: Floats) -> bool:
    wanted = expected([_layer(index) for index in range(len(_POOLED))], _values((_SIDE, _SIDE), 2))
    return bool(np.abs(features - wanted).max() <= ROUNDING * np.abs(wanted).max())


def _layer(index: int) -> Layer:
    depth, width = _CHANNELS[index : index + 2]
    return _values((width, depth, 3, 3), 1 / (depth + 2)), _values((width,), 0.2), _POOLED[index]


def _values(shape: tuple[int, ...], scale: float) -> Floats:
    """Return the values of `probe.c`."""
    numbers = np.arange(np.prod(shape)) * 7919 % 2003
    return ((numbers / 2003 - 0.5) * scale).astype(np.float32).reshape(shape)


if __name__ == "__main__":
    os.environ.setdefault("CC", "x86_64-linux-gnu-gcc")
    main()
