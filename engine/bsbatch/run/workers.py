"""The workers of a session: the entered backend of this process, or those of a cluster."""

import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from bsbatch.backends.registry import load_backend
from bsbatch.config import BackendName, Cluster, Effort, OverlayFormat
from bsbatch.executors.dispatch import Dispatcher
from bsbatch.executors.local import LocalExecutor
from bsbatch.executors.ray import RayPool, Seconds, await_workers, open_pool
from bsbatch.host.workers import Isolation
from bsbatch.protocols import Backend, Executor
from bsbatch.records import Outcome, Unit, UnitOutcome
from bsbatch.run.assembly import make_screening
from bsbatch.run.probe import Probe, probe
from bsbatch.run.report import ClusterFacts, Reporter
from bsbatch.run.setup import RunSetup, make_backend
from bsbatch.run.worker import Proof, open_worker
from bsbatch.store.folder import shared_token
from bsbatch.telemetry import Telemetry

Advance = Callable[[Iterable[Outcome]], None]
"""Called with the outcomes of every batch."""


class Workers(Protocol):
    """Workers that have proved themselves."""

    @property
    def probe(self) -> Probe:
        """The test of the first worker, which decides the size of units."""
        ...

    def await_all(self) -> None:
        """Wait until all workers are ready; a run begins with the first one.

        Raises
        ------
        ClusterError
            Some were not ready in time.
        UsageError
            A worker was refused.
        """
        ...

    def executor(self, setup: RunSetup, telemetry: Telemetry, isolation: Isolation, progress: Advance) -> Executor:
        """Return the executor of one run."""
        ...

    def facts(self) -> ClusterFacts | None:
        """Return the counts of a cluster's workers so far; None without a cluster."""
        ...


@dataclass(frozen=True, slots=True)
class LocalWorkers:
    """The backend of this process."""

    backend: Backend
    probe: Probe

    def await_all(self) -> None:
        """Do nothing: the backend is entered."""

    def executor(self, setup: RunSetup, telemetry: Telemetry, isolation: Isolation, progress: Advance) -> Executor:
        """Return the executor of one run."""
        return LocalExecutor(make_screening(setup, self.backend, telemetry, isolation, progress).execute)

    def facts(self) -> None:
        """Return nothing: there is no cluster."""
        return


@contextmanager
def _open_local(setup: RunSetup) -> Iterator[Workers]:
    with make_backend(setup) as backend:
        yield LocalWorkers(backend, probe(backend))


@dataclass(frozen=True, slots=True)
class ClusterExecutor:
    """Executes units on a cluster."""

    dispatcher: Dispatcher
    progress: Advance

    def run(self, units: Iterable[Unit], is_stopping: Callable[[], bool]) -> Generator[UnitOutcome, None, None]:
        """Yield outcomes as they come."""
        with closing(self.dispatcher.run(units, is_stopping)) as outcomes:
            for outcome in outcomes:
                self.progress(outcome.outcomes)
                yield outcome


@dataclass(frozen=True, slots=True)
class ClusterWorkers:
    """Workers on a cluster."""

    pool: RayPool
    dispatcher: Dispatcher
    probe: Probe

    def await_all(self) -> None:
        """Wait for as many workers as were asked for, or as fit."""
        self.dispatcher.early += await_workers(self.pool, self.pool.possible, self.dispatcher.patience)

    def executor(self, _: RunSetup, telemetry: Telemetry, isolation: Isolation, progress: Advance) -> Executor:
        """Return the executor of one run; the workers have sources and decoders of their own."""
        del isolation

        def spend(spent: Seconds) -> None:
            for stage, (seconds, items) in spent.items():
                telemetry.add(stage, seconds, items)

        self.pool.spend = spend
        return ClusterExecutor(self.dispatcher, progress)

    def facts(self) -> ClusterFacts:
        """Return the counts of the dispatcher."""
        return ClusterFacts(**{item.name: self.dispatcher.counts[item.name] for item in fields(ClusterFacts)})


@contextmanager
def _open_cluster(setup: RunSetup, cluster: Cluster, reporter: Reporter) -> Iterator[Workers]:
    effort = setup.config.effort
    recipe = replace(setup.recipe, effort=replace(effort, threads=effort.threads or cluster.threads))
    with ExitStack() as stack:
        draws = recipe.maps.overlays is not OverlayFormat.NONE
        token = stack.enter_context(shared_token(setup.out)) if draws else None
        is_temporary = _is_temporary(setup.config.archive_path)
        proof = Proof.of(setup.source, _expected_score(setup), token, is_temporary=is_temporary)
        pool = stack.enter_context(open_pool(partial(open_worker, recipe, proof), cluster))
        if not pool.fitting():
            reporter.note(
                f"No node of the cluster has room for a worker of {cluster.worker_cpus:g} CPUs and "
                f"{cluster.worker_gpus:g} GPUs: waiting {cluster.patience:g} s for one (--worker-cpus, --worker-gpus)."
            )
        reporter.show_workers(0)
        early = await_workers(pool, 1, cluster.patience)
        first = next(facts for facts in pool.facts.values() if isinstance(facts, Probe))
        dispatcher = Dispatcher(pool, cluster.patience, reporter.note, reporter.show_workers, early=early)
        yield ClusterWorkers(pool, dispatcher, first)


def _expected_score(setup: RunSetup) -> float:
    """Score the test image by ONNX Runtime, with which every backend was validated."""
    is_fake = setup.backend_name == BackendName.FAKE
    construct = load_backend(BackendName.FAKE if is_fake else BackendName.ONNXRUNTIME)
    with construct(setup.model, Effort(batch_size=1)) as backend:
        return probe(backend).score


def _is_temporary(archive: Path | None) -> bool:
    """Return True if an archive lies in this machine's folder for temporary files, as synthetic ones do."""
    return archive is not None and archive.resolve().is_relative_to(Path(tempfile.gettempdir()).resolve())


def open_workers(setup: RunSetup, reporter: Reporter) -> AbstractContextManager[Workers]:
    """Start the workers of a session; they end with the block.

    Raises
    ------
    UsageError
        They cannot work with these settings.
    """
    cluster = setup.config.cluster
    return _open_local(setup) if cluster is None else _open_cluster(setup, cluster, reporter)
