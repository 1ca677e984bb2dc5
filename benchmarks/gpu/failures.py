"""A step of `make gpu`: a run that fails in every way in turn, goes on each time, and has the rows of another."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from benchmarks.equality import DifferentResultsError
from benchmarks.gpu import faults
from benchmarks.gpu.machine import network_here, require_gpu
from benchmarks.gpu.results import STAND_IN
from benchmarks.gpu.step import Setup, last_words, run_step
from benchmarks.processes import ROOT, ProcessFailedError
from benchmarks.results import Line

from bsbatch.cli.exits import DONE, INTERRUPTED, STOPPED
from bsbatch_build.checks.verify import TOLERANCES

_SECONDS = 60.0
"""Limit of a run: one that takes longer hangs."""
_COLUMNS = ["sop_uid_anterior", "status", "p_metastasis"]


@dataclass(frozen=True, slots=True)
class _Trial:
    """A run, and its exit code if all is well."""

    fault: str
    code: int
    words: str = ""
    """Words of its last line on standard error."""
    is_terminated: bool = False
    """True if SIGTERM ends it."""


_TRIALS = (
    _Trial(faults.BAD_COPY, STOPPED, "the GPU failed"),
    _Trial(faults.BAD_KERNEL, STOPPED, "the GPU failed"),
    _Trial(faults.NO_MEMORY, STOPPED, "memory does not suffice"),
    _Trial(faults.NONE, INTERRUPTED, is_terminated=True),
    _Trial(faults.LITTLE_MEMORY, DONE),
)


def measure(setup: Setup) -> Iterator[Line]:
    """Yield the end of each run, and the comparison of the rows.

    Raises
    ------
    ProcessFailedError
        A run hung, or ended otherwise than it should.
    DifferentResultsError
        The rows are not those of a run without a failure.
    """
    with network_here(setup):  # or it is not here
        is_stand_in = require_gpu().name == STAND_IN
    out, undisturbed = setup.folder / "disturbed", setup.folder / "undisturbed"
    wrong: list[str] = []
    for trial in (_Trial(faults.NONE, DONE), *_TRIALS):
        if is_stand_in and trial.fault == faults.BAD_KERNEL:
            continue  # its device memory is the host's, so the process would die
        line, is_right = _try(setup, trial, out if trial in _TRIALS else undisturbed)
        wrong += [] if is_right else [str(line["run"])]
        yield line
    yield _compare(out, undisturbed)
    if wrong:
        raise ProcessFailedError(f"ended otherwise than they should: {', '.join(wrong)}")


def _try(setup: Setup, trial: _Trial, out: Path) -> tuple[Line, bool]:
    started, rows = time.perf_counter(), _parts(out)
    process = subprocess.Popen(_command(setup, trial, out), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        while trial.is_terminated and process.poll() is None and _parts(out) == rows:
            time.sleep(0.001)
        stopped = time.perf_counter()
        if trial.is_terminated:
            process.terminate()
        _, words = process.communicate(timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # it writes the stacks of its threads
        _, words = process.communicate()
    print(words, file=sys.stderr)
    ended, last = time.perf_counter(), last_words(words)
    line: Line = {
        "run": "SIGTERM" if trial.is_terminated else trial.fault,
        "exit code": str(process.returncode),
        "expected": str(trial.code),
        "s": ended - started,
        "s from SIGTERM": ended - stopped if trial.is_terminated else "",
        "new parts": str(_parts(out) - rows),
        "last words": last if process.returncode else "",
    }
    return line, process.returncode == trial.code and trial.words in last


def _command(setup: Setup, trial: _Trial, out: Path) -> list[str]:
    size = str(setup.sizes.batch)
    run = ["run", str(setup.failing_archive), "--model", str(setup.model_folder), "--backend", "tensorrt", "--quiet"]
    run += ["--out", str(out), "--batch-size", size, "--unit-size", size, "--threads", "2"]
    quick = ["--quick"] if setup.is_quick else []
    return [
        sys.executable,
        "-X",
        "faulthandler",
        "-m",
        "benchmarks.gpu.faults",
        trial.fault,
        str(setup.folder),
        *quick,
        *run,
    ]


def _parts(out: Path) -> int:
    return len(list(out.glob("objects/part-*")))


def _compare(out: Path, undisturbed: Path) -> Line:
    tables = [pq.read_table(folder / "results", columns=_COLUMNS).sort_by(_COLUMNS[0]) for folder in (out, undisturbed)]
    if tables[0].drop_columns(_COLUMNS[2:]) != tables[1].drop_columns(_COLUMNS[2:]):
        raise DifferentResultsError("the disturbed run has other rows")
    scores = [table[_COLUMNS[2]].to_numpy() for table in tables]
    difference = float(np.abs(scores[0] - scores[1]).max())
    if not difference <= TOLERANCES["fp16"]:
        raise DifferentResultsError(f"a score differs by {difference:.1e}")
    return {"run": "rows compared", "rows": str(len(scores[0])), "largest difference of a score": f"{difference:.1e}"}


if __name__ == "__main__":
    run_step(measure)
