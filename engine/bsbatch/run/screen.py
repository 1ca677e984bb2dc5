"""A run: plan units, skip what is committed, execute, commit, reconcile, report."""

import time
import warnings
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from bsbatch.config import RunConfig
from bsbatch.errors import BackendError, BsbatchError, ModelError, OutputError
from bsbatch.executors.local import LocalExecutor
from bsbatch.host.interruption import Interruption, handle_interrupts
from bsbatch.host.malloc import keep_freed_memory
from bsbatch.host.threads import Pending, prefetch, run_behind, run_in_background
from bsbatch.host.workers import Isolation
from bsbatch.imaging.gradcam import Explainer
from bsbatch.imaging.preprocess import VIEW_COLUMNS, VIEW_ROWS
from bsbatch.pipeline.intake import Intake
from bsbatch.pipeline.screening import Screening
from bsbatch.protocols import Executor, Sink
from bsbatch.records import Failure, Outcome, Prediction, Unit, UnitOutcome
from bsbatch.run.rehearsal import rehearse
from bsbatch.run.report import Ending, Report, Reporter
from bsbatch.run.run_file import run_content, run_metrics
from bsbatch.run.setup import MAX_UNIT, RunSetup, make_backend, resolve
from bsbatch.sinks.overlays import OverlaySink
from bsbatch.sinks.parquet import ParquetSink
from bsbatch.store.catalog import open_catalog
from bsbatch.store.folder import check, clear, lock_output, write_run_file
from bsbatch.store.reconcile import reconcile
from bsbatch.store.tables import OBJECTS, to_table
from bsbatch.telemetry import Telemetry

_UNIT_SECONDS = 60.0
_UNITS_AHEAD = 1


def screen(config: RunConfig, reporter: Reporter) -> Report:
    """Screen an archive, or go on where an earlier run of the same configuration stopped.

    Raises
    ------
    UsageError
        It cannot start as it was asked to.
    RunError
        It stopped; what is committed stays, and the same call goes on.
    """
    keep_freed_memory()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings quote values, and those may name a patient
        if config.dry_run:
            return rehearse(config, reporter)
        setup = resolve(config, reporter)
        with lock_output(setup.out):
            if not config.fresh:
                check(setup.out, config.archive, setup.provenance.config_hash)
            # pyarrow imports pandas with its first table, where that is installed: not beside the first images
            ready = run_in_background(lambda: to_table(OBJECTS, [], setup.provenance.config_hash))
            with make_backend(setup) as backend:
                unit_size = _prove(backend)  # before anything is deleted
                ready.result()
                if config.fresh:
                    clear(setup.out)
                return _run(setup, backend, config.effort.unit_size or unit_size, reporter)


def _run(setup: RunSetup, backend: Any, unit_size: int, reporter: Reporter) -> Report:
    telemetry, started = Telemetry(), time.monotonic()
    catalog = open_catalog(setup.out, _listed(setup))
    sink = ParquetSink(setup.out, setup.provenance)
    overlays = _overlays(setup)
    intake = Intake(setup.source, setup.config.selection, catalog, setup.pseudonymiser, telemetry, setup.threads)
    write_run_file(setup.out, run_content(setup, Ending.RUNNING, {}))
    try:
        with handle_interrupts(lambda: reporter.note(_INTERRUPTED)) as interruption, Isolation() as isolation:
            screening = Screening(
                setup.source,
                backend,
                telemetry,
                isolation,
                setup.threads,
                backend.batch_size,
                _teller(reporter),
                Explainer(setup.config.cam, setup.provenance.threshold, overlays is not None),
            )
            reporter.start(_count(setup), len(catalog.settled))
            # as many as are scored at once: their rows are there within seconds, and no lane waits
            first = setup.config.effort.unit_size or backend.lanes
            units = intake.units(min(unit_size, MAX_UNIT), setup.config.limit, first)
            sinks: list[Sink] = [sink] if overlays is None else [overlays, sink]
            ending, scored = _execute(intake, units, screening, sinks, _Watch(reporter, interruption))
        sink.finish()
        if overlays is not None and ending is not Ending.INTERRUPTED:
            overlays.finish()
        flow = reconcile(setup.out, intake.seen, is_complete=ending is Ending.COMPLETE)
    except BsbatchError:
        with suppress(OutputError):  # the error that stopped the run is the one to tell
            write_run_file(setup.out, run_content(setup, Ending.STOPPED, {"stages": telemetry.report()}))
        raise
    report = Report(ending, flow, time.monotonic() - started, scored, _model_name(setup))
    write_run_file(setup.out, run_content(setup, ending, run_metrics(report, telemetry)))
    return report


_INTERRUPTED = "Finishing the unit in hand; press Ctrl-C again to stop at once. The same command goes on later."


@dataclass(frozen=True, slots=True)
class _Watch:
    """Who is told, and who may interrupt."""

    reporter: Reporter
    interruption: Interruption


def _execute(
    intake: Intake, units: Iterable[Unit], screening: Screening, sinks: Sequence[Sink], watch: _Watch
) -> tuple[Ending, int]:
    """Drain the pipeline, commit each unit while the next one is at work, and stop early only between two of them."""

    def commit(outcome: UnitOutcome) -> None:
        with intake.telemetry.measure("commit"):
            for sink in sinks:
                sink.commit(outcome)

    scored = 0
    executor: Executor = LocalExecutor()
    with (
        run_behind(commit) as hand_over,
        closing(prefetch(units, _UNITS_AHEAD)) as planned,
        closing(executor.run(planned, screening.execute)) as outcomes,
    ):
        for outcome in outcomes:
            hand_over(outcome)
            watch.reporter.advance(len(outcome.settled), 0, 0)
            scored += _scored_in(outcome)
            if watch.interruption.is_requested:
                return Ending.INTERRUPTED, scored
    return (Ending.COMPLETE if intake.is_exhausted else Ending.LIMITED), scored


def _prove(backend: Any) -> int:
    """Score images that are not flat, one for each lane; how many examinations take this backend about a minute.

    Raises
    ------
    ModelError
        What comes out is no pair of probabilities.
    """
    images = np.random.default_rng(0).random((backend.lanes, 1, VIEW_ROWS, 2 * VIEW_COLUMNS), np.float32)
    started = time.perf_counter()
    try:
        probabilities = backend.infer(images).probabilities
    except BackendError as error:
        raise ModelError(f"the model cannot score a test image: {error}") from error
    if probabilities.shape != (len(images), 2) or not np.all((probabilities >= 0) & (probabilities <= 1)):
        raise ModelError("the model gives no two probabilities for a test image: export it again")
    seconds = (time.perf_counter() - started) / len(images)
    return max(1, min(MAX_UNIT, round(_UNIT_SECONDS / seconds)))


def _overlays(setup: RunSetup) -> OverlaySink | None:
    config = setup.config
    if not config.has_overlays:
        return None
    return OverlaySink(setup.out, config.overlay_format, setup.provenance.threshold, setup.threads)


def _teller(reporter: Reporter) -> Any:
    def tell(outcomes: Iterable[Outcome]) -> None:
        items = list(outcomes)
        failed = sum(isinstance(item, Failure) for item in items)
        reporter.advance(sum(len(item.exam.scans) for item in items), len(items) - failed, failed)

    return tell


def _scored_in(outcome: UnitOutcome) -> int:
    return sum(isinstance(item, Prediction) for item in outcome.outcomes)


def _count(setup: RunSetup) -> "Pending[int]":
    return run_in_background(lambda: sum(1 for _ in setup.source))


def _listed(setup: RunSetup) -> Any:
    pseudonymiser = setup.pseudonymiser
    return (pseudonymiser.ref(ref) if pseudonymiser else ref for ref in setup.source)


def _model_name(setup: RunSetup) -> str | None:
    return setup.model.manifest.name if setup.model is not None else None
