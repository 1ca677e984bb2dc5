"""The local executor: all units in this process, as one stream."""

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass

from bsbatch.records import Unit, UnitOutcome


@dataclass(frozen=True, slots=True)
class LocalExecutor:
    """Executes units in order; the next one begins before the previous one is done."""

    work: Callable[[Iterable[Unit]], Generator[UnitOutcome, None, None]]
    """Processes a stream of units (`bsbatch.pipeline.screening.Screening.execute`)."""

    def run(self, units: Iterable[Unit], is_stopping: Callable[[], bool]) -> Generator[UnitOutcome, None, None]:
        """Yield the outcome of every unit, in order; the one in hand is the last one before a stop."""
        with closing(self.work(units)) as outcomes:
            for outcome in outcomes:
                yield outcome
                if is_stopping():
                    return
