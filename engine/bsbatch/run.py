"""A run: plan units, skip what is committed, execute, commit, reconcile, report."""

import hashlib
import json
import platform
import time
import warnings
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import bsbatch
from bsbatch.allocation import keep_freed_memory
from bsbatch.autotune import choose
from bsbatch.catalog import Catalog, take_stock
from bsbatch.concurrency import (
    Interruption,
    Pending,
    in_background,
    interruptible,
    one_behind,
    prefetch,
    usable_cpus,
)
from bsbatch.config import BackendName, CamEngine, CamMode, RunConfig
from bsbatch.cuda import gpu
from bsbatch.errors import BackendError, BsbatchError, ModelError, OutputError, UsageError
from bsbatch.executors.local import LocalExecutor
from bsbatch.gradcam import Explainer
from bsbatch.isolation import Isolation
from bsbatch.model import Model
from bsbatch.output import check, clear, locked, open_output, write_run_file
from bsbatch.pipeline import Intake, Screening
from bsbatch.preprocess import VERSION, VIEW_COLUMNS, VIEW_ROWS
from bsbatch.protocols import Executor, Sink
from bsbatch.pseudonyms import Pseudonymiser
from bsbatch.reconcile import Flow, reconcile
from bsbatch.records import Failure, Outcome, Prediction, Unit, UnitOutcome
from bsbatch.registry import BACKENDS, CAMS, installed_version
from bsbatch.report import Ending, Report, Reporter
from bsbatch.sinks.overlays import OverlaySink
from bsbatch.sinks.parquet import ParquetSink
from bsbatch.sources.directory import DirectorySource
from bsbatch.tables import OBJECTS, SCHEMA_VERSION, Provenance, to_table
from bsbatch.telemetry import Telemetry

_MAX_UNIT = 256
_UNIT_SECONDS = 60.0
_UNITS_AHEAD = 1
_DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class Setting:
    """What a run works with, resolved once."""

    config: RunConfig
    out: Path
    source: DirectorySource
    model: Model | None
    pseudonymiser: Pseudonymiser | None
    backend_name: str
    precision: str
    provenance: Provenance
    threads: int


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
            return _rehearse(config, reporter)
        setting = _prepare(config, reporter)
        with locked(setting.out):
            if not config.fresh:
                check(setting.out, config.archive, setting.provenance.config_hash)
            # pyarrow imports pandas with its first table, where that is installed: not beside the first images
            ready = in_background(lambda: to_table(OBJECTS, [], setting.provenance.config_hash))
            with _backend(setting) as backend:
                unit_size = _prove(backend)  # before anything is deleted
                ready.result()
                if config.fresh:
                    clear(setting.out)
                return _run(setting, backend, config.effort.unit_size or unit_size, reporter)


def _prepare(config: RunConfig, reporter: Reporter) -> Setting:
    if config.out is None:
        raise UsageError("say where the results go: --out FOLDER")
    source = _source(config)
    model = Model.load(config.model, VERSION) if config.model is not None else None
    out = open_output(config.out, config.archive)
    pseudonymiser = Pseudonymiser.from_file(config.keyfile) if config.keyfile is not None else None
    has_maps = config.cam is not CamMode.NONE
    _check_maps(config, model)
    name = _backend_name(config, model, reporter)
    precision = BACKENDS[name].load().precision
    threshold = config.threshold
    if threshold is None:
        threshold = model.manifest.threshold if model is not None else _DEFAULT_THRESHOLD
    decisive = {
        "model": model.manifest.files if model is not None else None,
        "preprocessing": VERSION,
        "precision": precision,
        "threshold": threshold,
        "selection": asdict(config.selection),
        "pseudonyms": pseudonymiser.fingerprint if pseudonymiser is not None else None,
        "schema": SCHEMA_VERSION,
    }
    if has_maps:  # the hash of a run without maps is what it was before there were any
        decisive["cam"] = str(config.cam)
    if config.cam_engine is CamEngine.KERAS:
        decisive["cam_engine"] = str(config.cam_engine)
    provenance = Provenance(_hash_of(decisive), model.model_id if model is not None else None, threshold, has_maps)
    threads = config.effort.threads or usable_cpus()
    return Setting(config, out, source, model, pseudonymiser, name, precision, provenance, threads)


def _check_maps(config: RunConfig, model: Model | None) -> None:
    """Refuse what cannot give maps before backends are measured and anything is written."""
    if config.cam_engine is CamEngine.KERAS:
        CAMS[config.cam_engine].load()
    if model is None:
        return
    if config.cam_engine is CamEngine.KERAS:
        _ = model.keras
    else:
        model.manifest.outputs(with_cams=config.cam is not CamMode.NONE)


def _backend(setting: Setting) -> Any:
    """What scores, and gives maps if the run is to have them; not entered."""
    config, make_backend = setting.config, BACKENDS[setting.backend_name].load()
    if config.cam_engine is CamEngine.FUSED:
        return make_backend(setting.model, config.effort, with_cams=setting.provenance.has_maps)
    wants = Explainer(config.cam, setting.provenance.threshold).wants
    return CAMS[config.cam_engine].load()(
        make_backend(setting.model, config.effort), setting.model, config.effort, wants
    )


def _hash_of(decisive: dict[str, Any]) -> str:
    """16 hexadecimal digits over everything that decides what a row says."""
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]


def _source(config: RunConfig) -> DirectorySource:
    source = DirectorySource(config.archive)
    if next(iter(source), None) is None:
        raise UsageError(f"the archive {config.archive} holds no file: check the path")
    return source


def _backend_name(config: RunConfig, model: Model | None, reporter: Reporter) -> str:
    if config.backend is not BackendName.AUTO:
        return str(config.backend)
    if model is None:
        raise UsageError("say which model to use: --model FOLDER")
    return choose(model, config.effort, reporter.remark)


def _run(setting: Setting, backend: Any, unit_size: int, reporter: Reporter) -> Report:
    telemetry, started = Telemetry(), time.monotonic()
    catalog = take_stock(setting.out, _listed(setting))
    sink = ParquetSink(setting.out, setting.provenance)
    overlays = _overlays(setting)
    intake = Intake(
        setting.source, setting.config.selection, catalog, setting.pseudonymiser, telemetry, setting.threads
    )
    write_run_file(setting.out, _content(setting, Ending.RUNNING, {}))
    try:
        with interruptible(lambda: reporter.note(_INTERRUPTED)) as interruption, Isolation() as isolation:
            screening = Screening(
                setting.source,
                backend,
                telemetry,
                isolation,
                setting.threads,
                backend.batch_size,
                _teller(reporter),
                Explainer(setting.config.cam, setting.provenance.threshold, overlays is not None),
            )
            reporter.start(_count(setting), len(catalog.settled))
            # as many as are scored at once: their rows are there within seconds, and no lane waits
            first = setting.config.effort.unit_size or backend.lanes
            units = intake.units(min(unit_size, _MAX_UNIT), setting.config.limit, first)
            sinks: list[Sink] = [sink] if overlays is None else [overlays, sink]
            ending, scored = _execute(intake, units, screening, sinks, _Watch(reporter, interruption))
        sink.finish()
        if overlays is not None and ending is not Ending.INTERRUPTED:
            overlays.finish()
        flow = reconcile(setting.out, intake.seen, is_complete=ending is Ending.COMPLETE)
    except BsbatchError:
        with suppress(OutputError):  # the error that stopped the run is the one to tell
            write_run_file(setting.out, _content(setting, Ending.STOPPED, {"stages": telemetry.report()}))
        raise
    report = Report(ending, flow, time.monotonic() - started, scored, _model_name(setting))
    write_run_file(setting.out, _content(setting, ending, _figures(report, telemetry)))
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
        with intake.telemetry.timed("commit"):
            for sink in sinks:
                sink.commit(outcome)

    scored = 0
    executor: Executor = LocalExecutor()
    with (
        one_behind(commit) as hand_over,
        closing(prefetch(units, _UNITS_AHEAD)) as planned,
        closing(executor.run(planned, screening.execute)) as outcomes,
    ):
        for outcome in outcomes:
            hand_over(outcome)
            watch.reporter.advance(len(outcome.settled), 0, 0)
            scored += _scored_in(outcome)
            if watch.interruption.is_asked:
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
    return max(1, min(_MAX_UNIT, round(_UNIT_SECONDS / seconds)))


def _overlays(setting: Setting) -> OverlaySink | None:
    config = setting.config
    if not config.has_overlays:
        return None
    return OverlaySink(setting.out, config.overlay_format, setting.provenance.threshold, setting.threads)


def _teller(reporter: Reporter) -> Any:
    def tell(outcomes: Iterable[Outcome]) -> None:
        items = list(outcomes)
        failed = sum(isinstance(item, Failure) for item in items)
        reporter.advance(sum(len(item.exam.scans) for item in items), len(items) - failed, failed)

    return tell


def _scored_in(outcome: UnitOutcome) -> int:
    return sum(isinstance(item, Prediction) for item in outcome.outcomes)


def _count(setting: Setting) -> "Pending[int]":
    return in_background(lambda: sum(1 for _ in setting.source))


def _listed(setting: Setting) -> Any:
    pseudonymiser = setting.pseudonymiser
    return (pseudonymiser.ref(ref) if pseudonymiser else ref for ref in setting.source)


def _rehearse(config: RunConfig, reporter: Reporter) -> Report:
    """Plan without a model and write nothing."""
    started = time.monotonic()
    source, flow = _source(config), Flow()
    threads = config.effort.threads or usable_cpus()
    intake = Intake(source, config.selection, Catalog(), None, Telemetry(), threads)
    reporter.start(in_background(lambda: sum(1 for _ in source)), 0)
    for unit in intake.units(_MAX_UNIT, config.limit):
        flow.add_plan(unit)
        reporter.advance(len(unit.settled) + sum(len(exam.scans) for exam in unit.exams), 0, 0)
    flow.seen, flow.pending = intake.seen, intake.seen - flow.objects.total()
    return Report(Ending.PLANNED, flow, time.monotonic() - started, 0, None)


def _model_name(setting: Setting) -> str | None:
    return setting.model.manifest.name if setting.model is not None else None


def _figures(report: Report, telemetry: Telemetry) -> dict[str, Any]:
    return {
        "counts": report.flow.as_dict(),
        "seconds": round(report.seconds, 3),
        "scored_in_this_run": report.scored,
        "scored_per_second": round(report.scored / report.seconds, 3) if report.seconds else 0.0,
        "stages": telemetry.report(),
    }


def _content(setting: Setting, ending: Ending, figures: dict[str, Any]) -> dict[str, Any]:
    config, model = setting.config, setting.model
    return {
        "version": 1,
        "notice": "research use only, not for clinical use",
        "status": str(ending),
        "archive": str(config.archive.resolve()),
        "config_hash": setting.provenance.config_hash,
        "config": {
            "threshold": setting.provenance.threshold,
            "backend": setting.backend_name,
            "precision": setting.precision,
            "preprocessing_version": VERSION,
            "selection": asdict(config.selection),
            "cam": str(config.cam),
            "cam_engine": str(config.cam_engine),
            "effort": asdict(config.effort),
            "max_error_rate": config.max_error_rate,
            "limit": config.limit,
            "pseudonymised": setting.pseudonymiser is not None,
        },
        "model": asdict(model.manifest) | {"model_id": model.model_id} if model is not None else None,
        "schema_version": SCHEMA_VERSION,
        "versions": _versions(),
        "machine": {"processor": platform.machine(), "system": platform.system(), "cpus": usable_cpus()},
        **figures,
    }


def _versions() -> dict[str, str]:
    packages = ("numpy", "pydicom", "pyarrow", "opencv-python-headless", "onnxruntime", "MNN")
    found = {name: installed_version(name) for name in packages} | gpu.versions()
    return {"bsbatch": bsbatch.__version__, "python": platform.python_version()} | {
        name: version for name, version in found.items() if version is not None
    }
