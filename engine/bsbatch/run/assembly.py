"""The stages of a run, assembled from its setup: `screen` commits their outcomes, ``bsbatch bench`` times them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from bsbatch.host.threads import prefetch
from bsbatch.host.workers import Isolation
from bsbatch.models.directory import Model
from bsbatch.pipeline.intake import Intake
from bsbatch.pipeline.preparation import Preparation
from bsbatch.pipeline.screening import Screening
from bsbatch.protocols import Backend, Executor, LendsImages, Source, TakesHalves
from bsbatch.records import Outcome, Unit, UnitOutcome
from bsbatch.run.recipe import WorkerRecipe
from bsbatch.run.setup import RunSetup
from bsbatch.store.catalog import Catalog
from bsbatch.telemetry import Telemetry

_UNITS_AHEAD = 1


def make_intake(
    setup: RunSetup,
    catalog: Catalog,
    telemetry: Telemetry,
    isolation: Isolation,
    is_stopping: Callable[[], bool] = lambda: False,
) -> Intake:
    """Return the first half of the pipeline: objects to units of examinations."""
    return Intake(
        setup.source,
        setup.config.selection,
        catalog,
        telemetry,
        isolation,
        setup.threads,
        setup.patient_keys,
        setup.pseudonymiser,
        setup.config.is_identified,
        setup.choosing,
        is_stopping=is_stopping,
    )


def make_screening(
    setup: RunSetup,
    backend: Backend,
    telemetry: Telemetry,
    isolation: Isolation,
    progress: Callable[[Iterable[Outcome]], None],
) -> Screening:
    """Return the second half of the pipeline around an entered backend: units to their outcomes.

    Parameters
    ----------
    progress
        Called with the outcomes of every batch.
    """
    tools = Tools(setup.source, setup.model, backend, telemetry, isolation)
    return screening_of(setup.recipe, tools, setup.threads, progress)


@dataclass(frozen=True, slots=True)
class Tools:
    """The parts of a worker that it has opened itself."""

    source: Source
    model: Model | None
    backend: Backend
    """Entered."""
    telemetry: Telemetry
    isolation: Isolation


def screening_of(
    recipe: WorkerRecipe, tools: Tools, threads: int, progress: Callable[[Iterable[Outcome]], None]
) -> Screening:
    """Return the second half of the pipeline, on whichever machine; see `make_screening`."""
    backend, telemetry = tools.backend, tools.telemetry
    pool = backend.image_pool if isinstance(backend, LendsImages) else None
    in_halves = isinstance(backend, TakesHalves)
    preparation = Preparation(tools.source, telemetry, tools.isolation, recipe.explainer, pool, in_halves)
    limit = tools.model.manifest.distance_limit if tools.model is not None else None
    return Screening(preparation, backend, threads, progress, limit)


@contextmanager
def execute(
    units: Iterable[Unit], executor: Executor, is_stopping: Callable[[], bool] = lambda: False
) -> Iterator[Iterator[UnitOutcome]]:
    """Yield the outcomes of units while the next unit is planned; leaving the block early ends every thread."""
    with closing(prefetch(units, _UNITS_AHEAD)) as planned, closing(executor.run(planned, is_stopping)) as outcomes:
        yield outcomes
