"""Peak memory of ``bsbatch run`` against the size of the archive: ``python -m benchmarks.memory [small] [large]``.

Each archive mixes two-frame objects, views in separate files, duplicates and clutter; the backend is the fake one, so
that what grows is what bsbatch keeps. The goal is a ratio of at most 1.10 between the two sizes.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.archives import write_mixed

GOAL = 1.10


def main() -> None:
    """Measure both sizes and print one line for each, and their ratio."""
    sizes = [int(argument) for argument in sys.argv[1:3]] or [500, 5000]
    peaks = [measure(size) for size in sizes]
    ratio = peaks[-1] / peaks[0]
    print(f"ratio {ratio:.3f} (goal <= {GOAL:.2f}: {'met' if ratio <= GOAL else 'missed'})")


def measure(studies: int) -> float:
    """Peak resident memory in MiB of a run over so many studies, after its tables were checked."""
    with tempfile.TemporaryDirectory() as folder:
        archive, out = Path(folder) / "archive", Path(folder) / "out"
        write_mixed(archive, studies)
        peak = _peak_of(["run", str(archive), "--backend", "fake", "--out", str(out), "--quiet"])
        counts = json.loads((out / "run.json").read_text(encoding="utf-8"))["counts"]
        assert counts["seen"] == sum(counts["objects"].values())
        assert counts["examinations"]["ok"] >= studies - 1
    print(f"{studies} studies, {counts['seen']} files: peak {peak:.1f} MiB")
    return peak


def _peak_of(arguments: list[str]) -> float:
    process = subprocess.Popen([sys.executable, "-m", "bsbatch", *arguments])
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit("the run failed")
    return usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
