"""``python -m tests.end_to_end.cluster_histories``: runs on a Ray cluster, of which random parts die, hang and join.

Workers are killed or stopped and woken late, nodes are killed and join, the driver is killed and goes on, sometimes as
one process, and one examination kills its workers. The rows must be those of an undisturbed run.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.archives import Scan, dataset_of, write, write_mixed
from tests.clusters import LoopbackCluster, loopback_cluster
from tests.end_to_end.tables import Row, bsbatch, objects, results
from tests.executors.dangerous import pids_of

_STUDIES = 60
_POISON = "poison"
_MOST_NODES = 2
_STARTS = 12
"""Runs after which a history must have ended."""


class History:
    """One run, with what is done to it."""

    def __init__(self, cluster: LoopbackCluster, archive: Path, out: Path, seed: int) -> None:
        self.cluster, self.archive, self.out = cluster, archive, out
        self.luck = random.Random(seed)
        self.stopped: list[tuple[float, int]] = []
        self.events: list[str] = []

    def play(self) -> None:
        """Start the run again and again until it is complete."""
        for _ in range(_STARTS):
            on_cluster = not self.events or self.luck.random() < 0.8
            command = [sys.executable, "-c", "from tests.executors.dangerous import main; main()", *self._options()]
            ray = ["--executor", "ray", "--ray-address", self.cluster.address, "--patience", "20"]
            with subprocess.Popen(command + ray * on_cluster, stderr=subprocess.PIPE) as process:
                self._disturb(process)
            if process.returncode == 0:
                return
        raise AssertionError(f"it does not end: {self.events}")

    def _options(self) -> list[str]:
        options = ["--backend", "fake", "--unit-size", "4", "--max-error-rate", "1", "--quiet"]
        return ["run", str(self.archive), "--out", str(self.out), *options]

    def _disturb(self, process: "subprocess.Popen[bytes]") -> None:
        things = [self.kill_worker, self.kill_worker, self.stop_worker, self.kill_node, self.add_node]
        due = time.monotonic() + self.luck.uniform(3, 9)
        while process.poll() is None:
            time.sleep(0.05)
            self._wake(time.monotonic())
            if time.monotonic() > due and len(self.events) < 8:
                due = time.monotonic() + self.luck.uniform(0.3, 3)
                if self.luck.random() < 0.1:
                    self.events.append("kill driver")
                    process.kill()
                else:
                    self.luck.choice(things)()
        self._wake(float("inf"))
        if process.stderr is not None:
            process.stderr.read()

    def kill_worker(self) -> None:
        self._signal(signal.SIGKILL)

    def stop_worker(self) -> None:
        """Let a worker hang for longer than the run's patience, or shorter."""
        pid = self._signal(signal.SIGSTOP)
        if pid is not None:
            self.stopped.append((time.monotonic() + self.luck.choice([2, 25]), pid))

    def kill_node(self) -> None:
        if self.cluster.nodes:
            self.events.append("kill node")
            self.cluster.kill_node()

    def add_node(self) -> None:
        if len(self.cluster.nodes) < _MOST_NODES:
            self.events.append("add node")
            self.cluster.add_node()

    def _signal(self, number: signal.Signals) -> int | None:
        """Send a signal to one of the workers that live."""
        pids = [int(path.name) for path in pids_of(self.out).glob("*") if Path("/proc", path.name).exists()]
        if not pids:
            return None
        pid = self.luck.choice(pids)
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        self.events.append(number.name)
        return pid

    def _wake(self, now: float) -> None:
        for entry in [entry for entry in self.stopped if entry[0] < now]:
            self.stopped.remove(entry)
            with suppress(ProcessLookupError):
                os.kill(entry[1], signal.SIGCONT)


def rows(out: Path) -> tuple[list[Row], list[Row]]:
    """Return the rows of both tables, but for the examination that kills."""
    return (
        [row for row in results(out) if row["source_anterior"] != _POISON],
        [row for row in objects(out) if row["source"] != _POISON],
    )


def differences(out: Path, calm: Path) -> list[str]:
    """Return what a run has otherwise than an undisturbed one."""
    found = [name for name, mine, its in zip(("results", "objects"), rows(out), rows(calm), strict=True) if mine != its]
    poison = [row["reason"] for row in results(out) if row["source_anterior"] == _POISON]
    return found if poison in (["worker_lost"], [None]) else [*found, f"the examination that kills has {poison}"]


def main() -> int:
    """Return 1 if a history ends otherwise than an undisturbed run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    failed = 0
    with TemporaryDirectory() as name, loopback_cluster() as cluster:
        folder = Path(name)
        write_mixed(folder / "archive", _STUDIES)
        write(dataset_of(Scan(10**6)), folder / "archive" / _POISON)
        calm = folder / "calm"
        bsbatch("run", folder / "archive", "--out", calm, "--backend", "fake", "--max-error-rate", "1", "--quiet")
        for seed in range(options.seed, options.seed + options.count):
            history = History(cluster, folder / "archive", folder / f"{seed}", seed)
            history.play()
            found = differences(history.out, calm)
            failed += bool(found)
            sys.stdout.write(f"seed {seed}: {', '.join(history.events)}: {found or 'equal'}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{options.count} histories, {failed} end otherwise than an undisturbed run\n")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
