"""What a GPU does, in ten minutes: ``python -m benchmarks.gpu.run``, or ``make gpu``.

Each step is a process with a time limit of its own, and ends no other one. Results are written after each step.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu.results import Results, StepResult, Verdict
from benchmarks.gpu.step import NOT_HERE, last_words
from benchmarks.processes import ROOT
from benchmarks.results import Line

from bsbatch.bench.environment import Processor, environment
from bsbatch.cli.exits import INTERRUPTED

_SECONDS = 560.0
_STACK_SECONDS = 5.0
"""Time for a step that hangs to write where."""
_PACKAGES = ("numpy", "pydicom", "pyarrow", "opencv-python-headless", "onnxruntime", "torch")


@dataclass(frozen=True, slots=True)
class Step:
    """A program that measures."""

    name: str
    module: str
    seconds: float
    """Limit."""


STEPS = (
    Step("environment", "benchmarks.gpu.surroundings", 30),
    Step("contracts", "benchmarks.gpu.contracts", 60),
    Step("inputs", "benchmarks.gpu.inputs", 60),
    Step("engine", "benchmarks.gpu.engine", 240),
    Step("scores", "benchmarks.gpu.scores", 80),
    Step("slots", "benchmarks.gpu.slots", 60),
    Step("feeding", "benchmarks.gpu.feeding", 120),
    Step("copies", "benchmarks.gpu.copies", 20),
    Step("failures", "benchmarks.gpu.failures", 120),
    Step("entering", "benchmarks.gpu.entering", 40),
    Step("sanitizer", "benchmarks.gpu.sanitizer", 60),
)
"""In their order: the most wanted first, where ten minutes do not suffice."""


def main() -> None:
    """Run the steps; exit with 1 if one of them failed."""
    given = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(INTERRUPTED))  # which kills the step in hand
    out = given.out or ROOT / "benchmarks" / ("quick" if given.quick else "results")
    facts = environment(Processor.here(), _PACKAGES)  # now, because the results are written into the checkout
    steps = [step for step in STEPS if step.name in given.only]
    options = ["--quick"] if given.quick else []
    results: list[StepResult] = []
    with tempfile.TemporaryDirectory(prefix="bsbatch-gpu-") as folder:
        end = time.monotonic() + given.seconds
        for step in steps:
            results.append(run_in_time(step, Path(folder), options, end - time.monotonic()))
            page = Results(facts, given.quick, results).save(out)
            print(f"{step.name}: {results[-1].verdict}, {results[-1].seconds:.0f} s {results[-1].message}", flush=True)
    print(page.read_text(encoding="utf-8"))
    sys.exit(any(result.verdict is Verdict.FAILED for result in results))


def run_in_time(step: Step, folder: Path, options: Sequence[str], left: float) -> StepResult:
    """Run a step until it ends, or until its limit or the seconds that are left are over; it is killed then.

    Its output goes to ``folder/NAME.log`` and, at the end, to standard error.
    """
    lines, log = folder / f"{step.name}.jsonl", folder / f"{step.name}.log"
    limit = min(step.seconds, left)
    if limit <= 0:
        return StepResult(step.name, Verdict.FAILED, 0.0, [], "no time was left")
    started = time.monotonic()
    with log.open("wb") as output:
        command = [sys.executable, "-X", "faulthandler", "-m", step.module, str(lines), str(folder), *options]
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, process_group=0)
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
            process.send_signal(signal.SIGABRT)  # it writes the stacks of its threads
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STACK_SECONDS)
        finally:
            _kill_group(process)
    words = log.read_text(encoding="utf-8", errors="replace")
    print(words, file=sys.stderr, flush=True)
    verdict, message = _judge(code, words, limit)
    return StepResult(step.name, verdict, time.monotonic() - started, _read(lines), message)


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    """Kill a step and the processes that it started; most have ended."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # all of them have
        return
    process.wait()


def _judge(code: int | None, words: str, limit: float) -> tuple[Verdict, str]:
    """Return the verdict, and the last line of the output if it explains it."""
    last = last_words(words)
    if code is None:
        return Verdict.FAILED, f"killed after {limit:.0f} s"
    if code in (0, NOT_HERE):
        return (Verdict.NOT_HERE, last) if code else (Verdict.PASSED, "")
    return Verdict.FAILED, f"exit code {code}: {last}"


def _read(path: Path) -> list[Line]:
    """Read the whole lines of a file that a step may not have finished."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _parser() -> argparse.ArgumentParser:
    names = [step.name for step in STEPS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.run", description=main.__doc__)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="STEP", help=", ".join(names))
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to check that everything works")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="limit of all steps together")
    parser.add_argument("--out", type=Path, help="folder for gpu-*.json and gpu-*.md")
    return parser


if __name__ == "__main__":
    main()
