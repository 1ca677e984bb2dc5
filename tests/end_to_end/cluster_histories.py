"""``python -m tests.end_to_end.cluster_histories``: runs on a Ray cluster whose parts die, hang, join and are stopped.

Workers, nodes and the driver are killed, or stopped and woken late, a stopped node or head after its workers, whose
late answers then come. Nodes join, the driver is interrupted, runs are limited or go on as one process, and one
examination kills its workers. The rows must be those of an undisturbed run, and no worker may be left.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.archives import Scan, dataset_of, write, write_mixed
from tests.clusters import LoopbackCluster, loopback_cluster
from tests.end_to_end.tables import Row, bsbatch, objects, results
from tests.executors.dangerous import pids_of

_STUDIES = 120
_POISON = "z/poison"
"""Listed last: a limited run of one process, which survives it, seldom reaches it."""
_MOST_NODES = 2
_MOST_EVENTS, _MOST_STARTS = 8, 24
"""Events of a history, and starts of the driver after which it must have ended."""
_PATIENCE = 10
_PAUSES = 1, 13
"""Seconds for which a process is stopped: the second one is more than the run's patience."""
_AFTER_WORKERS = 2
"""Seconds from the waking of workers to that of their node or the head: until then, nothing can end them."""
_STOPPED, _NO_WORKERS = 4, re.compile(r"^stopped: (no worker|\d+ of \d+ workers) ")
"""The exit code of a run that has stopped, and the one reason for it that a history explains."""
_HANG_SECONDS = 180
"""A driver that runs for longer counts as one that never ends."""
_QUICKER = {
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "4000",
    "RAY_worker_niceness": "0",
}
"""Nodes that are killed are missed within seconds, and workers start as quickly as other processes do."""


class History:
    """One run, with the things that happen to it."""

    def __init__(self, cluster: LoopbackCluster, archive: Path, out: Path, seed: int) -> None:
        self.cluster, self.archive, self.out = cluster, archive, out
        self.luck = random.Random(seed)
        self.events: list[str] = []
        self.counts: Counter[str] = Counter()
        """Runs by executor, exit codes, and counts of ``run.json``."""
        self.faults: list[str] = []
        self._signals: list[tuple[float, int, signal.Signals]] = []
        """Signals that are due: when, and for which process."""
        self._calm_until = 0.0
        """Time before which nothing else happens."""
        self._codes = {0, _STOPPED}
        """Exit codes that the driver may have after the events so far."""

    def play(self) -> None:
        """Start the run again and again until it is complete."""
        for _ in range(_MOST_STARTS):
            with self._start() as process:
                self._disturb(process)
            self._note_end(process)
            if self.faults or (process.returncode == 0 and self._status() == "complete"):
                return
        self.faults.append("it does not end")

    def await_workers(self) -> None:
        """Wait until no worker of the run is left."""
        self._send(float("inf"))
        deadline = time.monotonic() + 30
        while self._workers():
            if time.monotonic() > deadline:
                self.faults.append("a worker is left")
                return
            time.sleep(0.05)

    def _start(self) -> "subprocess.Popen[bytes]":
        on_cluster = not self.events or self.luck.random() < 0.75
        limit = self.luck.choice([None, None, None, "30"] if on_cluster else [None, "10", "10", "10"])
        options = ["--backend", "fake", "--unit-size", "4", "--max-error-rate", "1", "--quiet"]
        if on_cluster:
            options += ["--executor", "ray", "--ray-address", self.cluster.address, "--patience", str(_PATIENCE)]
        if limit is not None:
            options += ["--limit", limit]
        self.counts["on the cluster" if on_cluster else "local"] += 1
        self._codes = {0, _STOPPED}
        words = [sys.executable, "-c", "from tests.executors.dangerous import main; main()", "run", str(self.archive)]
        with self._messages().open("ab") as stream:
            command = [*words, "--out", str(self.out), *options]
            return subprocess.Popen(command, stdout=stream, stderr=stream, start_new_session=True)

    def _messages(self) -> Path:
        return self.out.with_name(f"{self.out.name}.log")

    def _status(self) -> object:
        """Return the ending of the last run, which a killed one leaves as ``running``."""
        with suppress(FileNotFoundError):
            return json.loads((self.out / "run.json").read_text())["status"]
        return None

    def _note_end(self, process: "subprocess.Popen[bytes]") -> None:
        code, words = process.returncode, self._messages().read_text(errors="replace")
        self.counts[f"exit code {code}"] += 1
        # Python itself ends so if it is interrupted before it has begun, or in a callback of Ray behind its end
        is_pythons = code == 1 and 130 in self._codes and _last_line(words).startswith("KeyboardInterrupt")
        is_stop = code == _STOPPED and not _NO_WORKERS.search(_last_line(words))  # for example, rows that do not add up
        if (code not in self._codes and not is_pythons) or is_stop:
            self.faults.append(f"exit code {code} after {self.events}: {words[-6000:]}")
        if process.returncode in (0, 130):
            with suppress(FileNotFoundError):
                found = json.loads((self.out / "run.json").read_text()).get("cluster", {})
                self.counts.update({f"{name} in run.json": count for name, count in found.items()})

    def _disturb(self, process: "subprocess.Popen[bytes]") -> None:
        things = [
            *2 * [self._kill_worker, self._stop_worker, self._add_node, self._answer_late],
            *[self._stop_node, self._kill_node, self._stop_head],
        ]
        drivers = [self._kill_driver, self._stop_driver, self._interrupt]
        began = time.monotonic()
        due = began + self.luck.uniform(0, 5)
        while process.poll() is None:
            time.sleep(0.02)
            now = time.monotonic()
            self._send(now)
            if now > max(due, self._calm_until) and len(self.events) < _MOST_EVENTS:
                due = now + self.luck.uniform(0.1, 2.5)
                if self.luck.random() < 0.25:
                    self.luck.choice(drivers)(process)
                else:
                    self.luck.choice(things)()
            if now > began + _HANG_SECONDS:
                self.faults.append("a run does not end")
                self._codes.add(-signal.SIGABRT)
                process.send_signal(signal.SIGABRT)  # the fault handler writes where it is
                process.wait()

    def _kill_worker(self) -> None:
        for pid in self._choose_worker():
            self._signal(pid, signal.SIGKILL)
            self.events.append("kill worker")

    def _stop_worker(self) -> None:
        for pid in self._choose_worker():
            self._stop("worker", [pid])

    def _answer_late(self) -> None:
        """Let a worker wake up when the run has given it up, and before the head can end it."""
        if not self._is_head_stopped():
            for pid in self._choose_worker():
                self.events.append("late answer")
                now, head = time.monotonic(), self.cluster.control()
                until = now + _PATIENCE + 2.5
                self._calm_until = until + _AFTER_WORKERS
                self._signals += [(now, pid, signal.SIGSTOP), (until, pid, signal.SIGCONT)]
                self._signals += [(now + _PATIENCE - 1, head, signal.SIGSTOP), (self._calm_until, head, signal.SIGCONT)]

    def _kill_node(self) -> None:
        if self.cluster.nodes and not self._is_head_stopped():
            self.events.append("kill node")
            self.cluster.kill_node()

    def _stop_node(self) -> None:
        """Stop a node with its workers, which wake up before it does."""
        if self.cluster.nodes:
            raylet = self.cluster.raylets()[-1]
            self._stop("node", [pid for pid in self._workers() if _parent(pid) == raylet], raylet)

    def _stop_head(self) -> None:
        if not self._is_head_stopped():
            self._stop("head", [], self.cluster.control())

    def _is_head_stopped(self) -> bool:
        """Return True if the head is stopped, or soon will be: nodes can neither join nor leave."""
        return any(pid == self.cluster.control() for _, pid, _ in self._signals)

    def _add_node(self) -> None:
        if len(self.cluster.nodes) < _MOST_NODES and not self._is_head_stopped():
            self.events.append("add node")
            self.cluster.add_node()

    def _kill_driver(self, process: "subprocess.Popen[bytes]") -> None:
        self.events.append("kill driver")
        self._codes.add(-signal.SIGKILL)
        process.kill()

    def _stop_driver(self, process: "subprocess.Popen[bytes]") -> None:
        self._stop("driver", [process.pid])

    def _interrupt(self, process: "subprocess.Popen[bytes]") -> None:
        """Press Ctrl-C once or twice, or end the driver as an operating system does that shuts down."""
        number, times = self.luck.choice(
            [(signal.SIGINT, 1), (signal.SIGINT, 1), (signal.SIGINT, 2), (signal.SIGTERM, 1)]
        )
        self.events.append(f"{number.name} x {times}")
        self._codes |= {130, -number, int(number)}  # the latter two before bsbatch is imported, and while Ray connects
        for _ in range(times):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            time.sleep(self.luck.uniform(0, 0.5))

    def _stop(self, kind: str, pids: list[int], node: int | None = None) -> None:
        seconds = self.luck.choice(_PAUSES)
        self.events.append(f"stop {kind} {seconds} s")
        until = time.monotonic() + seconds
        wakes = [(until, pid) for pid in pids] + [(until + _AFTER_WORKERS, pid) for pid in [node] if pid is not None]
        for _, pid in reversed(wakes):
            self._signal(pid, signal.SIGSTOP)
        self._signals += [(due, pid, signal.SIGCONT) for due, pid in wakes]

    def _workers(self) -> list[int]:
        """Return the processes of the run's workers that live."""
        return [int(path.name) for path in pids_of(self.out).glob("*") if b"ray::" in _command(path.name)]

    def _choose_worker(self) -> list[int]:
        pids = self._workers()
        return [self.luck.choice(pids)] if pids else []

    def _signal(self, pid: int, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    def _send(self, now: float) -> None:
        """Send the signals that are due."""
        for entry in sorted(entry for entry in self._signals if entry[0] <= now):
            self._signals.remove(entry)
            self._signal(entry[1], entry[2])


def _last_line(text: str) -> str:
    return text.rstrip().rpartition("\n")[2]


def _command(pid: str) -> bytes:
    """Return the command line of a process; nothing if it has ended."""
    try:
        return Path("/proc", pid, "cmdline").read_bytes()
    except OSError:
        return b""


def _parent(pid: int) -> int | None:
    try:
        return int(Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def rows(out: Path) -> dict[str, list[Row]]:
    """Return the rows of both tables."""
    return {"results": results(out), "objects": objects(out)}


def differences(out: Path, calm: Path) -> list[str]:
    """Return how a run differs from an undisturbed one. Only the examination that kills may have failed otherwise."""
    mine, its = rows(out), rows(calm)
    found = [
        f"rows of {name}: {len(mine[name])}, not {len(its[name])}" for name in its if len(mine[name]) != len(its[name])
    ]
    for name in its:
        others = [[row for row in both[name] if not _is_poison(row)] for both in (mine, its)]
        found += [f"{name}: {ours} and not {true}" for ours, true in zip(*others, strict=False) if ours != true]
    poison = [row["reason"] for row in mine["results"] if _is_poison(row)]
    found += [path.name for path in out.glob("*/.part-*")]
    return found if poison in (["worker_lost"], [None]) else [*found, f"the examination that kills has {poison}"]


def _is_poison(row: Row) -> bool:
    return _POISON in (row.get("source"), row.get("source_anterior"))


def main() -> int:
    """Return 1 if a history ends otherwise than an undisturbed run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # drivers inherit it, and a shell's background ignores it
    failed, totals = 0, Counter[str]()
    with TemporaryDirectory() as name, loopback_cluster(settings=_QUICKER) as cluster:
        folder = Path(name)
        write_mixed(folder / "archive", _STUDIES)
        write(dataset_of(Scan(10**6)), folder / "archive" / _POISON)
        calm = folder / "calm"
        bsbatch("run", folder / "archive", "--out", calm, "--backend", "fake", "--max-error-rate", "1", "--quiet")
        for seed in range(options.seed, options.seed + options.count):
            began = time.monotonic()
            history = History(cluster, folder / "archive", folder / f"{seed}", seed)
            history.play()
            history.await_workers()
            found = history.faults or differences(history.out, calm)
            failed += bool(found)
            totals += Counter(history.events) + history.counts
            line = f"seed {seed}, {time.monotonic() - began:.0f} s: {', '.join(history.events)}; {dict(history.counts)}"
            sys.stdout.write("\n".join([f"{line}: {'other' if found else 'equal'}", *found, ""]))
            sys.stdout.flush()
    sys.stdout.write(f"{options.count} histories, {failed} end otherwise than an undisturbed run; {dict(totals)}\n")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
