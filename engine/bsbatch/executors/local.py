"""The local executor: all units in this process, as one stream."""

from collections.abc import Callable, Generator, Iterable

from bsbatch.records import Unit, UnitOutcome


class LocalExecutor:
    """Executes units in order; the next one begins before the previous one is done."""

    def run(
        self, units: Iterable[Unit], work: Callable[[Iterable[Unit]], Generator[UnitOutcome, None, None]]
    ) -> Generator[UnitOutcome, None, None]:
        """Yield the outcome of every unit, in order."""
        return work(units)
