"""The stages of a run, assembled from its setup: `screen` commits their outcomes, ``bsbatch bench`` times them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager

from bsbatch.executors.local import LocalExecutor
from bsbatch.host.threads import prefetch
from bsbatch.host.workers import Isolation
from bsbatch.pipeline.intake import Intake
from bsbatch.pipeline.preparation import Preparation
from bsbatch.pipeline.screening import Screening
from bsbatch.protocols import Backend, Executor, LendsImages, TakesHalves
from bsbatch.records import Outcome, Unit, UnitOutcome
from bsbatch.run.setup import RunSetup
from bsbatch.store.catalog import Catalog
from bsbatch.telemetry import Telemetry

_UNITS_AHEAD = 1


def make_intake(setup: RunSetup, catalog: Catalog, telemetry: Telemetry, isolation: Isolation) -> Intake:
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
    pool = backend.image_pool if isinstance(backend, LendsImages) else None
    preparation = Preparation(
        setup.source, telemetry, isolation, setup.explainer, pool, isinstance(backend, TakesHalves)
    )
    limit = setup.model.manifest.distance_limit if setup.model is not None else None
    return Screening(preparation, backend, setup.threads, progress, limit)


@contextmanager
def execute(units: Iterable[Unit], screening: Screening) -> Iterator[Iterator[UnitOutcome]]:
    """Yield the outcomes of units while the next unit is planned; leaving the block early ends every thread."""
    executor: Executor = LocalExecutor()
    with (
        closing(prefetch(units, _UNITS_AHEAD)) as planned,
        closing(executor.run(planned, screening.execute)) as outcomes,
    ):
        yield outcomes
