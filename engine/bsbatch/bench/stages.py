"""The stages that can be measured, built of the same parts as a run.

Each is a context manager that gives a function; a call of it is a turn: one batch of the bare backend, or the whole
archive once for every other stage.
"""

import json
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count, cycle
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bsbatch.bench.measure import COMPUTE, LATENCY, WAITED, Turn
from bsbatch.config import BackendName, Effort, RunConfig, Selection
from bsbatch.errors import UsageError
from bsbatch.host.machine import usable_cpus
from bsbatch.host.threads import Pending, prefetch
from bsbatch.host.workers import Isolation
from bsbatch.imaging.preprocess import VERSION
from bsbatch.models.directory import Model
from bsbatch.pipeline.intake import Intake
from bsbatch.pipeline.screening import Screening
from bsbatch.protocols import Backend, Images, Source
from bsbatch.records import Inference, Outcome, Prediction
from bsbatch.registry import BACKENDS
from bsbatch.run.autotune import choose
from bsbatch.run.screen import screen
from bsbatch.sources.directory import DirectorySource
from bsbatch.store.catalog import Catalog
from bsbatch.telemetry import Telemetry

_UNIT_SIZE = 256
_UNITS_AHEAD = 1
_INTAKE_BATCH = 8
_MOST_IMAGES = 64
_EVEN = 0.5

Take = Callable[[], Turn]


@dataclass(frozen=True, slots=True)
class Workload:
    """What a stage works on."""

    archive: Path
    model: Path | None = None
    backend: BackendName = BackendName.AUTO
    effort: Effort = field(default_factory=Effort)

    @property
    def threads(self) -> int:
        """Threads that read."""
        return self.effort.threads or usable_cpus()


@contextmanager
def skimming(work: Workload) -> Iterator[Take]:
    """Files to verdicts; items are files."""
    source = DirectorySource(work.archive)

    def skim(telemetry: Telemetry) -> int:
        intake = _intake(source, work, telemetry)
        for _ in intake.units(_UNIT_SIZE, None):
            pass
        return intake.seen

    yield lambda: _timed(skim)


@contextmanager
def taking_in(work: Workload) -> Iterator[Take]:
    """Files to arrays; items are examinations whose array was made."""
    with Isolation() as isolation:
        yield lambda: _timed(lambda telemetry: _scored_in(_screened(NullBackend(), work, isolation, telemetry)))


@contextmanager
def inferring(work: Workload, images: NDArray[np.float32]) -> Iterator[Take]:
    """Arrays to probabilities; a turn is one batch out of ``(N, 1, 512, 512)`` images, items are its images."""
    with opened(work) as backend:
        batches = cycle(_cut(images, batch_size_of(backend)))
        # a backend that keeps a clock of its own: what its devices spent, by part
        clock: Callable[[], dict[str, float]] = getattr(backend, "device_seconds", dict)

        def infer() -> Turn:
            batch, before = next(batches), clock()
            started = time.perf_counter()
            backend.infer(batch)
            latency = time.perf_counter() - started
            spent = {part: end - before[part] for part, end in clock().items()}
            return Turn(len(batch), {LATENCY: latency, **spent, **_waiting(backend, latency, spent)})

        yield infer


@contextmanager
def running(work: Workload) -> Iterator[Take]:
    """Files to committed Parquet by `bsbatch.run.screen.screen`, each turn into a new folder; items are examinations.

    The time is what the run reports: from the listing to the reconciled tables, the backend already loaded.
    """
    with tempfile.TemporaryDirectory(prefix="bsbatch-bench-") as folder:
        numbers = count()
        yield lambda: _run(Path(folder) / f"run-{next(numbers)}", work)


@contextmanager
def running_without_sink(work: Workload) -> Iterator[Take]:
    """Files to probabilities that nobody writes down; items are scored examinations."""
    with opened(work) as backend, Isolation() as isolation:
        yield lambda: _timed(lambda telemetry: _scored_in(_screened(backend, work, isolation, telemetry)))


@contextmanager
def opened(work: Workload) -> Iterator[Backend]:
    """The backend that a run would use, loaded."""
    model = Model.load(work.model, VERSION) if work.model is not None else None
    with BACKENDS[backend_name(work.backend, model, work.effort)].load()(model, work.effort) as backend:
        yield backend


def backend_name(asked: BackendName, model: Model | None, effort: Effort) -> str:
    """The backend that a run would take."""
    if asked is not BackendName.AUTO or model is None:
        return str(asked)
    return choose(model, effort, lambda _: None)


def batch_size_of(backend: Any) -> int:
    """Examinations in one call of a backend."""
    return int(backend.batch_size)


def images_of(work: Workload, most: int = _MOST_IMAGES) -> NDArray[np.float32]:
    """``(N, 1, 512, 512)`` images of an archive as a model gets them, the first ``most``.

    Raises
    ------
    UsageError
        The archive holds no examination that could be scored.
    """
    backend = NullBackend(keep=most)
    with Isolation() as isolation, closing(_screened(backend, work, isolation, Telemetry())) as outcomes:
        while len(backend.kept) < most and next(outcomes, None) is not None:
            pass
    if not backend.kept:
        raise UsageError(f"the archive {work.archive} holds no examination that can be scored: name another one")
    return np.stack(backend.kept)


def verdicts_of(work: Workload) -> dict[str, str]:
    """The reason code of every object that belongs to no examination, by its place in the archive."""
    units = _intake(DirectorySource(work.archive), work, Telemetry()).units(_UNIT_SIZE, None)
    return {item.ref.source: str(item.verdict.reason) for unit in units for item in unit.settled}


@dataclass(slots=True)
class NullBackend:
    """Gives every image the same score and looks at none; keeps copies of the first ones if it shall."""

    keep: int = 0
    """Images to keep at most."""
    batch_size: int = _INTAKE_BATCH
    lanes: int = 1
    precision: str = "none"
    kept: list[NDArray[np.float32]] = field(default_factory=list)
    """Arrays of ``(1, 512, 512)`` in the order in which they came."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def infer(self, images: Images) -> Inference:
        """Give halves for ``(N, 1, 512, 512)`` images."""
        self.kept.extend(image.copy() for image in images[: self.keep - len(self.kept)])
        return Inference(np.full((len(images), 2), _EVEN, np.float32))


class SilentReporter:
    """Tells nobody."""

    def start(self, total: "Pending[int]", done: int) -> None:
        """Begin."""

    def advance(self, objects: int, ok: int, failed: int) -> None:
        """Go on."""

    def remark(self, message: str) -> None:
        """Say nothing."""

    def note(self, message: str) -> None:
        """Say nothing."""


def _waiting(backend: Any, latency: float, spent: Mapping[str, float]) -> dict[str, float]:
    """How long devices had nothing to compute, with the way back of the last scores; each has one batch at work."""
    return {WAITED: max(0.0, backend.devices * latency - spent[COMPUTE])} if COMPUTE in spent else {}


def _timed(work: Callable[[Telemetry], int]) -> Turn:
    telemetry, started = Telemetry(), time.perf_counter()
    items = work(telemetry)
    return Turn(items, {LATENCY: time.perf_counter() - started}, _busy(telemetry.report()))


def _busy(stages: dict[str, dict[str, float]]) -> dict[str, float]:
    return {stage: figures["seconds"] for stage, figures in stages.items()}


def _intake(source: Source, work: Workload, telemetry: Telemetry) -> Intake:
    return Intake(source, Selection(), Catalog(), None, telemetry, work.threads)


def _screened(
    backend: Backend, work: Workload, isolation: Isolation, telemetry: Telemetry
) -> Generator[Outcome, None, None]:
    """Both halves of the pipeline around a backend, once over the archive, without a sink."""
    source = DirectorySource(work.archive)
    screening = Screening(source, backend, telemetry, isolation, work.threads, batch_size_of(backend), lambda _: None)
    units = _intake(source, work, telemetry).units(_UNIT_SIZE, None)
    with closing(prefetch(units, _UNITS_AHEAD)) as planned, closing(screening.execute(planned)) as executed:
        for unit in executed:
            yield from unit.outcomes


def _run(out: Path, work: Workload) -> Turn:
    config = RunConfig(work.archive, out=out, model=work.model, backend=work.backend, effort=work.effort)
    report = screen(config, SilentReporter())
    content = json.loads((out / "run.json").read_text(encoding="utf-8"))
    return Turn(report.scored, {LATENCY: report.seconds}, _busy(content["stages"]))


def _scored_in(outcomes: Iterable[Outcome]) -> int:
    return sum(isinstance(outcome, Prediction) for outcome in outcomes)


def _cut(images: NDArray[np.float32], size: int) -> list[NDArray[np.float32]]:
    """Batches of one size; few images come round again, a last one that is not full is left out."""
    enough = images if len(images) >= size else np.resize(images, (size, *images.shape[1:]))
    return [enough[start : start + size] for start in range(0, len(enough) - size + 1, size)]
