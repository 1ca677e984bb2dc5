"""``python -m benchmarks.dispatch``: how many workers one driver feeds, with workers that only sleep.

The driver is real: it plans, dispatches and commits to Parquet. Workers are deadlines in its own process, so what it
costs to send a unit over a network is not in here; ``python -m benchmarks.cluster`` measures that.
"""

import argparse
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.archives import write_plain

from bsbatch.config import BackendName, RunConfig
from bsbatch.executors.dispatch import Answer, Dispatcher, Event, Ready
from bsbatch.host.threads import run_behind
from bsbatch.host.workers import Isolation
from bsbatch.records import Examination, Prediction, Quality, Unit
from bsbatch.run.assembly import make_intake
from bsbatch.run.report import SilentReporter
from bsbatch.run.setup import RunSetup, resolve
from bsbatch.sinks.parquet import ParquetSink
from bsbatch.store.catalog import Catalog
from bsbatch.telemetry import Telemetry

_PATIENCE = 600.0
_DRIVER, _WORKERS = 0.5, 0.95
"""Largest busy share of the driver, and smallest one of the workers."""
_QUALITY = Quality(1e6, 1e6, 2.0, 2.0, 0.1, 0, (), "0" * 32)


@dataclass(slots=True)
class SleepingPool:
    """Workers that need a fixed time for a ticket, whatever its size."""

    workers: int
    seconds: float
    """Time of a whole unit."""
    size: int
    """Examinations of a whole unit."""
    busy: float = 0.0
    _due: list[tuple[float, int, Event]] = field(default_factory=list)
    _tickets: dict[int, deque[tuple[int, Sequence[Examination]]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for worker in range(self.workers):
            self._due.append((0.0, -worker, Ready(worker)))
            self._tickets[worker] = deque()

    def submit(self, worker: int, ticket: int, exams: Sequence[Examination]) -> None:
        """Queue a ticket."""
        self._tickets[worker].append((ticket, exams))
        if len(self._tickets[worker]) == 1:
            self._begin(worker, time.perf_counter())

    def wait(self, seconds: float) -> list[Event]:
        """Sleep until the first worker is done; return all that are."""
        now = time.perf_counter()
        first = self._due[0][0] if self._due else now + seconds
        time.sleep(max(0.0, min(first - now, seconds)))
        events = list[Event]()
        while self._due and self._due[0][0] <= time.perf_counter():
            at, _, event = heappop(self._due)
            events.append(event)
            if isinstance(event, Answer):
                self._tickets[event.worker].popleft()
                if self._tickets[event.worker]:
                    self._begin(event.worker, at)
        return events

    def end(self, worker: int) -> None:
        """Fail: no worker is silent."""
        raise AssertionError(worker)

    def _begin(self, worker: int, now: float) -> None:
        ticket, exams = self._tickets[worker][0]
        seconds = self.seconds * len(exams) / self.size
        self.busy += seconds
        outcomes = tuple(Prediction(exam, _QUALITY, 0.5, None, 0.0) for exam in exams)
        heappush(self._due, (now + seconds, ticket, Answer(worker, ticket, outcomes)))


def planned(setup: RunSetup, size: int, count: int) -> Iterator[Unit]:
    """Yield units of an archive again and again, each with examinations of other names."""
    with Isolation() as isolation:
        (unit,) = make_intake(setup, Catalog(), Telemetry(), isolation).units(size, size)
    for number in range(count):
        exams = tuple(exam._replace(exam_id=f"{number:016x}{at:016x}") for at, exam in enumerate(unit.exams))
        yield Unit(exams, unit.settled)


def measure(options: argparse.Namespace, folder: Path) -> tuple[float, float, float]:
    """Return the busy shares of the driver and of the workers, and the driver's seconds a unit."""
    write_plain(folder / "archive", options.size)
    setup = resolve(RunConfig(folder / "archive", folder / "out", backend=BackendName.FAKE), SilentReporter())
    sink = ParquetSink(setup.out, setup.provenance)
    pool = SleepingPool(options.workers, options.seconds, options.size)
    units = list(planned(setup, options.size, options.units))
    started, busy = time.perf_counter(), time.process_time()
    done = 0
    with run_behind(sink.commit) as commit:
        for outcome in Dispatcher(pool, _PATIENCE).run(units):
            commit(outcome)
            done += len(outcome.outcomes)
    wall, spent = time.perf_counter() - started, time.process_time() - busy
    if done != options.units * options.size:
        raise AssertionError(f"{done} examinations came back of {options.units * options.size}")
    return spent / wall, pool.busy / (options.workers * wall), spent / options.units


def main() -> int:
    """Return 1 if the driver is busy for more than half of the time, or the workers for less than 95 %."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a unit")
    parser.add_argument("--size", type=int, default=8, help="examinations of a unit")
    parser.add_argument("--units", type=int, default=64 * 30)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        driver, workers, unit = measure(options, Path(folder))
    sys.stdout.write(
        f"{options.workers} workers, {options.units} units of {options.seconds:g} s: driver busy {driver:.1%} "
        f"({1000 * unit:.2f} ms a unit, commit included), workers busy {workers:.1%}\n"
    )
    return driver > _DRIVER or workers < _WORKERS


if __name__ == "__main__":
    sys.exit(main())
