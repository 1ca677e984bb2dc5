"""``bsbatch bench`` from its settings to its report."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from typing import Any

from bsbatch.bench import stages
from bsbatch.bench.ceiling import Ceiling, macs_of, peak_of, peak_of_gpus
from bsbatch.bench.environment import Processor, environment
from bsbatch.bench.measure import Timing, measure
from bsbatch.bench.settings import NEED_BACKEND, BenchConfig, StageName
from bsbatch.bench.stages import TakeTurn, load_images, open_setup
from bsbatch.bench.subject import Archive, open_archive
from bsbatch.config import BackendName, Effort, ExecutorName
from bsbatch.cuda.gpu import Gpu, gpus
from bsbatch.dicom.silence import silence_pydicom
from bsbatch.host.machine import usable_cpus
from bsbatch.host.malloc import keep_freed_memory
from bsbatch.models.directory import Manifest
from bsbatch.notice import NOTICE
from bsbatch.run.report import Reporter, SilentReporter
from bsbatch.run.setup import RunSetup

RESULT_VERSION = 1
_UNITS = {StageName.SKIM: "files"}
_SCANS = "scans"
_ON_GPUS = (BackendName.TENSORRT, BackendName.ONNXRUNTIME_CUDA, BackendName.ONNXRUNTIME_TENSORRT)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One row of the report: a batch size and its timing."""

    batch: int | None
    """Examinations in one call of the backend; None if the backend chose, or if nothing was inferred."""
    timing: Timing


@dataclass(frozen=True, slots=True)
class BenchReport:
    """The result of ``bsbatch bench``."""

    config: BenchConfig
    archive: str
    unit: str
    """Unit of the items: files or scans."""
    model_name: str | None
    backend: str | None
    """Name and precision of the backend; None if nothing was inferred."""
    ceiling: Ceiling
    environment: dict[str, Any]
    measurements: tuple[Measurement, ...]

    def as_dict(self) -> dict[str, object]:
        """Return the content of the JSON file: seconds, items, shares in [0, 1]."""
        cluster = self.config.cluster
        return {
            "version": RESULT_VERSION,
            "notice": NOTICE,
            "stage": str(self.config.stage),
            "archive": self.archive,
            "unit": self.unit,
            "model": self.model_name,
            "backend": self.backend,
            "null_sink": self.config.null_sink,
            "threads": self._threads,
            "executor": str(ExecutorName.LOCAL if cluster is None else ExecutorName.RAY),
            "worker_cpus": None if cluster is None else cluster.worker_cpus,
            "worker_gpus": None if cluster is None else cluster.worker_gpus,
            "pace": asdict(self.config.pace) | {"iterations": self.config.iterations},
            "ceiling": asdict(self.ceiling),
            "measurements": [self._row(item) for item in self.measurements],
            "environment": self.environment,
        }

    @property
    def _threads(self) -> int:
        """Threads of this process, or of each worker."""
        cluster = self.config.cluster
        return self.config.threads or (usable_cpus() if cluster is None else cluster.threads)

    def _row(self, item: Measurement) -> dict[str, object]:
        rate = item.timing.throughput
        arithmetic = {"flops": self.ceiling.flops(rate), "share_of_peak": self.ceiling.share(rate)}
        return {"batch": item.batch, **asdict(item.timing), **arithmetic, **self._device_row(item)}

    def _device_row(self, item: Measurement) -> dict[str, object]:
        if item.timing.computing is None:
            return {}
        return {"computing": item.timing.computing, "share_of_peak_computing": self.share_computing(item)}

    def share_computing(self, item: Measurement) -> float | None:
        """Share of the peak, in [0, 1], that devices reach while they compute; None if either side is unknown."""
        share, computing = self.ceiling.share(item.timing.throughput), item.timing.computing
        return share / computing if share is not None and computing else None


def bench(
    config: BenchConfig,
    reporter: Reporter = SilentReporter(),  # noqa: B008 - without a state
) -> BenchReport:
    """Measure one stage.

    Parameters
    ----------
    config
        Configuration of the command.
    reporter
        Shows what happens to the workers of a cluster.

    Raises
    ------
    UsageError
        The settings cannot be measured.
    RunError
        The archive or the backend failed.
    """
    keep_freed_memory()  # as a run does
    with silence_pydicom(), open_archive(config.subject) as archive:
        infers = config.stage in NEED_BACKEND
        model, backend = (config.model, config.backend) if infers else (None, BackendName.FAKE)
        with open_setup(archive.folder, model, backend, Effort(config.threads), config.cluster) as setup:
            return _report(config, archive, setup, tuple(_measure_all(config, setup, reporter)))


def _measure_all(config: BenchConfig, setup: RunSetup, reporter: Reporter) -> Iterator[Measurement]:
    pace = replace(config.pace, iterations=config.iterations)
    for batch in config.batches or (None,):
        run = replace(setup.config, backend=BackendName(setup.backend_name), effort=Effort(config.threads, batch))
        with _open_stage(config, replace(setup, config=run), reporter) as take_turn:
            yield Measurement(batch, measure(take_turn, pace))


def _open_stage(config: BenchConfig, setup: RunSetup, reporter: Reporter) -> AbstractContextManager[TakeTurn]:
    if config.stage is StageName.SKIM:
        return stages.time_skim(setup)
    if config.stage is StageName.INTAKE:
        return stages.time_intake(setup)
    if config.stage is StageName.INFER:
        return stages.time_inference(setup, load_images(setup))
    return stages.time_run_without_sink(setup) if config.null_sink else stages.time_run(setup, reporter)


def _report(
    config: BenchConfig, archive: Archive, setup: RunSetup, measurements: tuple[Measurement, ...]
) -> BenchReport:
    name = setup.backend_name if config.stage in NEED_BACKEND else None
    manifest = setup.model.manifest if setup.model is not None else None
    is_here = config.cluster is None
    processor, here = Processor.here(), gpus() if is_here and name == BackendName.TENSORRT else ()
    return BenchReport(
        config=config,
        archive=archive.name,
        unit=_UNITS.get(config.stage, _SCANS),
        model_name=setup.model_name,
        backend=f"{name} {setup.precision}" if name is not None else None,
        ceiling=_ceiling(name, manifest, processor, here) if is_here else Ceiling(macs_of(manifest), None),
        environment=environment(processor) | {"gpus": [gpu.name for gpu in here]},
        measurements=measurements,
    )


def _ceiling(name: str | None, manifest: Manifest | None, processor: Processor, here: tuple[Gpu, ...]) -> Ceiling:
    if name in _ON_GPUS:
        return Ceiling(macs_of(manifest), peak_of_gpus(here), "fp16")
    return Ceiling(macs_of(manifest), peak_of(processor, usable_cpus()))
