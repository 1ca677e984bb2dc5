"""``python -m benchmarks.cluster``: a driver and workers that sleep, on a Ray cluster of two nodes on one machine.

Each figure comes from a driver in a process of its own, which dispatches through Ray and commits to Parquet.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.dispatch import planned
from tests.archives import write_plain
from tests.clusters import loopback_cluster

from bsbatch.config import BackendName, Cluster, RunConfig
from bsbatch.executors.dispatch import Dispatcher
from bsbatch.executors.ray import await_workers, open_pool
from bsbatch.host.threads import run_behind
from bsbatch.records import Examination, Outcome, Prediction, Quality
from bsbatch.run.report import SilentReporter
from bsbatch.run.setup import resolve
from bsbatch.sinks.parquet import ParquetSink

_PATIENCE = 120.0
_QUALITY = Quality(1e6, 1e6, 2.0, 2.0, 0.1, 0, (), "0" * 32)
_SIZE = 8
_MILLISECONDS, _SPEEDUP, _MEMORY = 20.0, 1.9, 1.1
"""Targets: driver's time of a unit at most, two workers against one at least, driver's memory of many examinations at
most that of few."""


@dataclass(frozen=True, slots=True)
class Sleeper:
    """A worker that needs a fixed time for each examination."""

    seconds: float
    probe: str = "asleep"

    def execute(self, exams: Sequence[Examination]) -> tuple[Outcome, ...]:
        """Sleep."""
        time.sleep(self.seconds * len(exams))
        return tuple(Prediction(exam, _QUALITY, 0.5, None, 0.0) for exam in exams)

    def drain(self) -> dict[str, tuple[float, int]]:
        """Report nothing."""
        return {}


@contextmanager
def open_sleeper(seconds: float) -> Iterator[Sleeper]:
    """Open a worker."""
    yield Sleeper(seconds)


def drive(address: str, workers: int, seconds: float, units: int) -> dict[str, float]:
    """Dispatch and commit; return wall and processor seconds once the workers are ready, and the peak memory in KiB."""
    with TemporaryDirectory() as folder:
        write_plain(Path(folder, "archive"), _SIZE)
        setup = resolve(
            RunConfig(Path(folder, "archive"), Path(folder, "out"), backend=BackendName.FAKE), SilentReporter()
        )
        sink, work = ParquetSink(setup.out, setup.provenance), planned(setup, _SIZE, units)
        cluster = Cluster(address, workers)
        with open_pool(partial(open_sleeper, seconds), cluster) as pool, run_behind(sink.commit) as commit:
            events = await_workers(pool, workers, _PATIENCE)
            started, busy, done = time.perf_counter(), time.process_time(), 0
            for outcome in Dispatcher(pool, _PATIENCE, early=events).run(work):
                commit(outcome)
                done += len(outcome.outcomes)
            wall, spent = time.perf_counter() - started, time.process_time() - busy
    if done != units * _SIZE:
        raise AssertionError(f"{done} examinations came back of {units * _SIZE}")
    return {"wall": wall, "busy": spent, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}


def measure(address: str, workers: int, seconds: float, units: int) -> dict[str, float]:
    """Run `drive` in a process of its own."""
    numbers = (str(number) for number in (workers, seconds, units))
    command = [sys.executable, "-c", "from benchmarks.cluster import child; child()", address, *numbers]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def child() -> None:
    """Drive as the arguments say, and print the figures."""
    address, workers, seconds, units = sys.argv[1:]
    sys.stdout.write(json.dumps(drive(address, int(workers), float(seconds), int(units))) + "\n")


def main() -> int:
    """Return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--units", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=0.05, help="of an examination")
    parser.add_argument("--examinations", type=int, default=50_000, help="for the driver's memory, against 500")
    options = parser.parse_args()
    with loopback_cluster() as cluster:
        cluster.add_node()
        quick = measure(cluster.address, 2, 0.0, 500)
        one, two = (measure(cluster.address, number, options.seconds, options.units) for number in (1, 2))
        few, many = (measure(cluster.address, 2, 0.0, exams // _SIZE) for exams in (500, options.examinations))
    unit, speedup = 1000 * quick["busy"] / 500, one["wall"] / two["wall"]
    memory = many["memory"] / few["memory"]
    sys.stdout.write(
        f"driver: {unit:.1f} ms of processor time a unit of {_SIZE} (500 in {quick['wall']:.1f} s, commits included)\n"
        f"two workers against one: {speedup:.2f}x ({one['wall']:.1f} s, {two['wall']:.1f} s, {options.units} units)\n"
        f"driver's memory, {options.examinations} against 500 examinations: {memory:.2f}x "
        f"({many['memory'] / 1024:.0f}, {few['memory'] / 1024:.0f} MiB)\n"
    )
    return unit > _MILLISECONDS or speedup < _SPEEDUP or memory > _MEMORY


if __name__ == "__main__":
    sys.exit(main())
