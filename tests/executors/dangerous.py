"""``bsbatch`` whose workers on a cluster are slow, note their process id, and die of the examination ``poison``.

For ``python -c "from tests.executors.dangerous import main; main()" run ...``: what workers import must have a module.
"""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import bsbatch.cli
from bsbatch.records import Examination, Outcome
from bsbatch.run.probe import Probe
from bsbatch.run.recipe import WorkerRecipe
from bsbatch.run.worker import Proof, Worker, open_worker

SECONDS = 0.05
"""Time of an examination."""


@dataclass(frozen=True, slots=True)
class DangerousWorker:
    """A worker around a true one."""

    worker: Worker

    @property
    def probe(self) -> Probe:
        return self.worker.probe

    def execute(self, exams: Sequence[Examination]) -> tuple[Outcome, ...]:
        time.sleep(SECONDS * len(exams))
        if any("poison" in scan.ref.source for exam in exams for scan in exam.scans):
            os.kill(os.getpid(), signal.SIGKILL)
        return self.worker.execute(exams)

    def drain(self) -> dict[str, tuple[float, int]]:
        return self.worker.drain()


@contextmanager
def open_dangerous(recipe: WorkerRecipe, proof: Proof) -> Iterator[DangerousWorker]:
    with open_worker(recipe, proof) as worker:
        folder = pids_of(recipe.out)
        folder.mkdir(exist_ok=True)
        (folder / str(os.getpid())).touch()
        yield DangerousWorker(worker)


def pids_of(out: Path) -> Path:
    """Folder with a file for each worker of a run, which has its process id as its name."""
    return out.with_name(f"{out.name}-pids")


def main() -> None:
    with mock.patch("bsbatch.run.workers.open_worker", open_dangerous):
        bsbatch.cli.main()
