"""A run that stops at an error."""

import json
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.archives import write_plain

from bsbatch.config import BackendName, RunConfig
from bsbatch.errors import ClusterError
from bsbatch.protocols import Executor
from bsbatch.records import Unit, UnitOutcome
from bsbatch.run.probe import Probe
from bsbatch.run.report import ClusterFacts, SilentReporter
from bsbatch.run.screen import open_session


@dataclass(frozen=True, slots=True)
class GoneWorkers:
    """A cluster whose workers have all ended."""

    probe: Probe

    def await_all(self) -> None: ...

    def executor(self, *_: object) -> Executor:
        return self

    def run(self, units: Iterable[Unit], is_stopping: Callable[[], bool]) -> Generator[UnitOutcome, None, None]:
        assert not is_stopping()
        yield UnitOutcome((), next(iter(units)).settled)
        raise ClusterError("no worker could be had")

    def facts(self) -> ClusterFacts:
        return ClusterFacts(workers=2, lost=2, refused=0, again=3, dropped=0)


def test_the_workers_of_a_cluster_that_ended_are_in_the_run_file(tmp_path: Path) -> None:
    write_plain(tmp_path / "archive", 2)
    config = RunConfig(tmp_path / "archive", tmp_path / "out", backend=BackendName.FAKE)
    with open_session(config, SilentReporter()) as session, pytest.raises(ClusterError):
        replace(session, workers=GoneWorkers(session.workers.probe)).run()
    content = json.loads((tmp_path / "out" / "run.json").read_text())
    assert content["status"] == "stopped"
    assert content["cluster"] == {"workers": 2, "lost": 2, "refused": 0, "again": 3, "dropped": 0}
    assert content["stages"]["header"]["items"] == 2
