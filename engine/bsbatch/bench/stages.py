"""The stages that can be measured, assembled by the run's own functions.

Each is a context manager that yields a function. One call of it is a turn: one batch of the bare backend, or the whole
archive once for every other stage.
"""

import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bsbatch.bench.measure import COMPUTE, LATENCY, WAITED, Turn
from bsbatch.config import BackendName, Cluster, Effort, RunConfig
from bsbatch.errors import UsageError
from bsbatch.executors.local import LocalExecutor
from bsbatch.host.workers import Isolation
from bsbatch.protocols import Backend, DeviceClock, Images
from bsbatch.records import Inference, Outcome, Prediction
from bsbatch.run.assembly import execute, make_intake, make_screening
from bsbatch.run.report import Reporter, SilentReporter
from bsbatch.run.screen import open_session
from bsbatch.run.setup import MAX_UNIT, RunSetup, make_backend, resolve
from bsbatch.store.catalog import Catalog
from bsbatch.telemetry import Telemetry

_INTAKE_BATCH = 8
_MOST_IMAGES = 64
_EVEN = 0.5

TakeTurn = Callable[[], Turn]


@contextmanager
def open_setup(
    archive: Path,
    model: Path | None = None,
    backend: BackendName = BackendName.FAKE,
    effort: Effort = Effort(),  # noqa: B008 - frozen
    cluster: Cluster | None = None,
) -> Iterator[RunSetup]:
    """Resolve the setup of a run over an archive; its output folder lives as long as the block."""
    with tempfile.TemporaryDirectory(prefix="bsbatch-bench-") as folder:
        config = RunConfig(archive, Path(folder), model, backend, effort=effort, cluster=cluster)
        yield resolve(config, SilentReporter())


@contextmanager
def time_skim(setup: RunSetup) -> Iterator[TakeTurn]:
    """Time files to verdicts; items are files."""

    def skim(telemetry: Telemetry) -> int:
        intake = make_intake(setup, Catalog(), telemetry, isolation)
        for _ in intake.units(MAX_UNIT, None):
            pass
        return intake.seen

    with Isolation() as isolation:
        yield lambda: _time(skim)


@contextmanager
def time_intake(setup: RunSetup) -> Iterator[TakeTurn]:
    """Time files to arrays; items are examinations whose array was made."""
    with Isolation() as isolation:
        yield lambda: _time(lambda telemetry: _count_scores(_screen(setup, NullBackend(), isolation, telemetry)))


@contextmanager
def time_inference(setup: RunSetup, images: NDArray[np.float32]) -> Iterator[TakeTurn]:
    """Time arrays to probabilities; a turn is one batch out of ``(N, 1, 512, 512)`` images, items are its images."""
    with make_backend(setup) as backend:
        batches = cycle(_cut_into_batches(images, backend.batch_size))

        def infer() -> Turn:
            batch, before = next(batches), _device_seconds(backend)
            started = time.perf_counter()
            backend.infer(batch)
            latency = time.perf_counter() - started
            spent = {part: end - before[part] for part, end in _device_seconds(backend).items()}
            return Turn(len(batch), {LATENCY: latency, **spent, **_waiting_seconds(backend, latency, spent)})

        yield infer


@contextmanager
def time_run(
    setup: RunSetup,
    reporter: Reporter = SilentReporter(),  # noqa: B008 - without a state
) -> Iterator[TakeTurn]:
    """Time runs of one session, files to committed Parquet, each turn into a new folder; items are scores.

    The time is the one that the run reports: from the listing to the reconciled tables, all workers already loaded.
    Runs are silent; ``reporter`` shows what happens to the workers of a cluster.
    """
    with open_session(setup.config, reporter) as session:
        session.workers.await_all()

        def run() -> Turn:
            out, telemetry = Path(tempfile.mkdtemp(dir=setup.out)), Telemetry()
            inside = replace(session.setup, out=out)
            report = replace(session, setup=inside, reporter=SilentReporter(), telemetry=telemetry).run()
            return Turn(report.scored, {LATENCY: report.seconds}, _busy_seconds(telemetry.report()), report.cluster)

        yield run


@contextmanager
def time_run_without_sink(setup: RunSetup) -> Iterator[TakeTurn]:
    """Time files to probabilities that are not written; items are scored examinations."""
    with make_backend(setup) as backend, Isolation() as isolation:
        yield lambda: _time(lambda telemetry: _count_scores(_screen(setup, backend, isolation, telemetry)))


def load_images(setup: RunSetup, most: int = _MOST_IMAGES) -> NDArray[np.float32]:
    """Return the first ``most`` images of an archive as a model gets them, ``(N, 1, 512, 512)`` in [0, 1].

    Raises
    ------
    UsageError
        The archive holds no examination that could be scored.
    """
    backend = NullBackend(keep=most)
    with Isolation() as isolation, closing(_screen(setup, backend, isolation, Telemetry())) as outcomes:
        while len(backend.images) < most and next(outcomes, None) is not None:
            pass
    if not backend.images:
        raise UsageError(
            f"the archive {setup.config.archive} holds no examination that can be scored: name another one"
        )
    return np.stack(backend.images)


def list_verdicts(setup: RunSetup) -> dict[str, str]:
    """Return the reason code of every object that belongs to no examination, by its path in the archive."""
    with Isolation() as isolation:
        units = make_intake(setup, Catalog(), Telemetry(), isolation).units(MAX_UNIT, None)
        return {item.ref.source: str(item.verdict.reason) for unit in units for item in unit.settled}


@dataclass(slots=True)
class NullBackend:
    """Gives every image the same score without looking at it; keeps copies of the first ones."""

    keep: int = 0
    """Images to keep at most."""
    batch_size: int = _INTAKE_BATCH
    lanes: int = 1
    precision: str = "none"
    images: list[NDArray[np.float32]] = field(default_factory=list)
    """Copies of ``(1, 512, 512)`` images in the order of their arrival."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def infer(self, images: Images) -> Inference:
        """Return probabilities of 0.5 for ``(N, 1, 512, 512)`` images."""
        self.images.extend(image.copy() for image in images[: self.keep - len(self.images)])
        return Inference(np.full((len(images), 2), _EVEN, np.float32))


def _device_seconds(backend: Backend) -> dict[str, float]:
    return backend.device_seconds() if isinstance(backend, DeviceClock) else {}


def _waiting_seconds(backend: Backend, latency: float, spent: Mapping[str, float]) -> dict[str, float]:
    """Seconds in which devices had nothing to compute, until the last scores were copied back; one batch each."""
    if not isinstance(backend, DeviceClock):
        return {}
    return {WAITED: max(0.0, backend.devices * latency - spent[COMPUTE])}


def _time(work: Callable[[Telemetry], int]) -> Turn:
    telemetry, started = Telemetry(), time.perf_counter()
    items = work(telemetry)
    return Turn(items, {LATENCY: time.perf_counter() - started}, _busy_seconds(telemetry.report()))


def _busy_seconds(stages: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {stage: values["seconds"] for stage, values in stages.items()}


def _screen(
    setup: RunSetup, backend: Backend, isolation: Isolation, telemetry: Telemetry
) -> Generator[Outcome, None, None]:
    """Yield the outcomes of the whole archive without writing them."""
    screening = make_screening(setup, backend, telemetry, isolation, lambda _: None)
    units = make_intake(setup, Catalog(), telemetry, isolation).units(MAX_UNIT, None)
    with execute(units, LocalExecutor(screening.execute)) as outcomes:
        for unit in outcomes:
            yield from unit.outcomes


def _count_scores(outcomes: Iterable[Outcome]) -> int:
    return sum(isinstance(outcome, Prediction) for outcome in outcomes)


def _cut_into_batches(images: NDArray[np.float32], size: int) -> list[NDArray[np.float32]]:
    """Cut images into batches of one size. Too few images are repeated, a last batch that is not full is left out."""
    enough = images if len(images) >= size else np.resize(images, (size, *images.shape[1:]))
    return [enough[start : start + size] for start in range(0, len(enough) - size + 1, size)]
