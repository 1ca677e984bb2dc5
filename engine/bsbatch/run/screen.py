"""Runs: take stock, execute units, commit, reconcile, report."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from bsbatch.config import RunConfig
from bsbatch.dicom.silence import silence_pydicom
from bsbatch.errors import BsbatchError, OutputError
from bsbatch.host.garbage import collect_rarely
from bsbatch.host.interruption import Interruption, handle_interrupts
from bsbatch.host.malloc import keep_freed_memory
from bsbatch.host.threads import run_behind, run_in_background
from bsbatch.host.workers import Isolation
from bsbatch.pipeline.intake import Intake
from bsbatch.protocols import Executor, Sink
from bsbatch.records import ObjectRef, Prediction, Unit, UnitOutcome
from bsbatch.run.assembly import execute, make_intake
from bsbatch.run.progress import Progress
from bsbatch.run.rehearsal import rehearse
from bsbatch.run.report import Ending, Report, Reporter, note_bugs, note_old_page, note_undrawn, note_unlike
from bsbatch.run.run_file import find_differences, run_content, run_metrics, work_metrics
from bsbatch.run.setup import MAX_UNIT, RunSetup, resolve
from bsbatch.run.workers import Workers, open_workers
from bsbatch.sinks.overlays import Look, OverlaySink
from bsbatch.sinks.parquet import ParquetSink
from bsbatch.sources.listing import list_once
from bsbatch.store.catalog import Catalog, open_catalog
from bsbatch.store.committed import Committed
from bsbatch.store.flow import Flow
from bsbatch.store.folder import check_output, clear_output, lock_output, write_run_file
from bsbatch.store.reconcile import reconcile
from bsbatch.store.tables import OBJECTS, to_table
from bsbatch.telemetry import Telemetry

_INTERRUPTED = "Finishing the unit in hand; press Ctrl-C again to stop at once. The same command goes on later."


def screen(config: RunConfig, reporter: Reporter) -> Report:
    """Screen an archive, or continue an earlier run of the same configuration.

    Raises
    ------
    UsageError
        The run cannot start with these settings.
    RunError
        The run stopped. Committed rows stay, and the same call continues it.
    """
    keep_freed_memory()
    with silence_pydicom():
        if config.dry_run:
            return rehearse(config, reporter)
        with open_session(config, reporter) as session:
            return session.run()


@contextmanager
def open_session(config: RunConfig, reporter: Reporter, *, is_watched: bool = False) -> Iterator["Session"]:
    """Resolve a configuration, lock the output folder and start the workers; what is there must fit the configuration.

    Parameters
    ----------
    is_watched
        True if the archive may be empty.

    Raises
    ------
    UsageError
        The run cannot start with these settings.
    """
    setup = resolve(config, reporter, is_watched=is_watched)
    with lock_output(setup.out), collect_rarely():
        if not config.fresh:
            names = () if config.archive_moved else setup.archive_names
            check_output(setup.out, names, setup.provenance.config_hash, lambda: find_differences(setup))
        # pyarrow imports pandas with its first table, if that is installed: not beside the first images
        ready = run_in_background(lambda: to_table(OBJECTS, [], setup.provenance.config_hash))
        with open_workers(setup, reporter) as workers:  # proved before anything is deleted
            ready.result()
            if config.fresh:
                clear_output(setup.out)
            yield Session(setup, workers, reporter, config.effort.unit_size or workers.probe.unit_size, Telemetry())


@dataclass(frozen=True, slots=True)
class Session:
    """A locked output folder and its workers, for one run or several, one after the other."""

    setup: RunSetup
    workers: Workers
    reporter: Reporter
    unit_size: int
    """Examinations in a unit, at most."""
    telemetry: Telemetry
    sinks: tuple[Sink, ...] = ()
    """Further destinations of the units; each unit reaches them once its rows are committed."""
    keeps_failures: bool = False
    """True if failed objects are tried again only once they have changed."""

    def run(self) -> Report:
        """List the archive and execute what earlier runs left undone."""
        setup = self.setup
        with list_once(setup.source, setup.out) as listed:
            progress = Progress(self.reporter, setup.rate, setup.config.limit)
            return _Run(replace(self, setup=replace(setup, source=listed)), listed.count, progress).complete()


@dataclass(frozen=True, slots=True)
class _Run:
    """A run over a listing."""

    session: Session
    count: Callable[[], int]
    """Counts the objects of the archive; blocks until it is listed."""
    progress: Progress

    @property
    def setup(self) -> RunSetup:
        return self.session.setup

    @property
    def reporter(self) -> Reporter:
        return self.session.reporter

    def complete(self) -> Report:
        """Execute, and report; ``run.json`` is written before and after."""
        setup, telemetry, started = self.setup, self.session.telemetry, time.monotonic()
        catalog = open_catalog(setup.out, self._list(), keeps_failures=self.session.keeps_failures)
        write_run_file(setup.out, run_content(setup, Ending.RUNNING, {}))
        try:
            ending, scored, flow = self._execute(catalog)
        except BsbatchError:
            with suppress(OutputError):  # report the error that stopped the run, not this one
                work = work_metrics(telemetry, self.session.workers.facts())
                write_run_file(setup.out, run_content(setup, Ending.STOPPED, work))
            raise
        cluster, seconds = self.session.workers.facts(), time.monotonic() - started
        report = Report(ending, flow, seconds, scored, setup.model_name, cluster=cluster)
        note_bugs(flow, self.reporter)
        note_unlike(flow, self.reporter)
        note_old_page(setup.out, self.reporter)
        write_run_file(setup.out, run_content(setup, ending, run_metrics(report, telemetry)))
        return report

    def _execute(self, catalog: Catalog) -> tuple[Ending, int, Flow]:
        """Execute and commit the units that are not settled; return the ending, new scores and the reconciled flow."""
        setup, reporter, telemetry = self.setup, self.reporter, self.session.telemetry
        parquet, overlays = ParquetSink(setup.out, setup.provenance), self._open_overlays()
        sinks: list[Sink] = [*([] if overlays is None else [overlays]), parquet, *self.session.sinks]
        with handle_interrupts(lambda: reporter.note(_INTERRUPTED)) as interruption, Isolation() as isolation:
            intake = make_intake(setup, catalog, telemetry, isolation, lambda: interruption.is_requested)
            workers = self.session.workers
            executor = workers.executor(setup, telemetry, isolation, self.progress.add)
            self.progress.start(run_in_background(self.count), len(catalog.settled))
            # as many as are scored at once: their rows are committed within seconds, and no lane waits
            first = setup.config.effort.unit_size or workers.probe.lanes
            size = min(self.session.unit_size, MAX_UNIT)
            units = intake.units(size, setup.config.limit, first)
            ending, scored = self._drain(intake, units, executor, sinks, interruption)
            if ending is Ending.COMPLETE and intake.needs_revision:
                committed = Committed(setup.out)
                ending, more = self._drain(intake, intake.revise(committed, size), executor, sinks, interruption)
                scored += more
                self.progress.withdraw(committed.withdrawn)
        parquet.finish()
        if overlays is not None and ending is not Ending.INTERRUPTED:
            overlays.finish()
            note_undrawn(overlays.bugs, reporter)
        return ending, scored, reconcile(setup.out, intake.seen, is_complete=ending is Ending.COMPLETE)

    def _drain(
        self,
        intake: Intake,
        units: Iterable[Unit],
        executor: Executor,
        sinks: Sequence[Sink],
        interruption: Interruption,
    ) -> tuple[Ending, int]:
        """Commit each unit while the next one is scored. An interruption ends the run behind the units in hand."""

        def commit(outcome: UnitOutcome) -> None:
            with intake.telemetry.measure("commit"):
                for sink in sinks:
                    sink.commit(outcome)

        scored = 0
        with (
            run_behind(commit) as commit_behind,
            execute(units, executor, lambda: interruption.is_requested) as outcomes,
        ):
            for outcome in outcomes:
                commit_behind(outcome)
                self.progress.commit(outcome)
                scored += sum(isinstance(item, Prediction) for item in outcome.outcomes)
        if interruption.is_requested:
            self.progress.take_back()
            return Ending.INTERRUPTED, scored
        return (Ending.COMPLETE if intake.is_exhausted else Ending.LIMITED), scored

    def _open_overlays(self) -> OverlaySink | None:
        config = self.setup.config
        if not config.has_overlays:
            return None
        provenance = self.setup.provenance
        look = Look(provenance.threshold, config.overlay_format, config.overlay_style, provenance.is_calibrated)
        sink = OverlaySink(self.setup.out, look, self.setup.threads)
        sink.remove_leftovers()
        return sink

    def _list(self) -> Iterator[ObjectRef]:
        """List the archive as its rows name it."""
        pseudonymiser = self.setup.pseudonymiser
        return (pseudonymiser.ref(ref) if pseudonymiser else ref for ref in self.setup.source)
