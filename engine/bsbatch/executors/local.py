"""All units in this process, as one stream."""

from collections.abc import Callable, Generator, Iterable

from bsbatch.records import Unit, UnitOutcome


class LocalExecutor:
    """Executes units as they come, the next one begun before the last one is done."""

    def run(
        self, units: Iterable[Unit], work: Callable[[Iterable[Unit]], Generator[UnitOutcome, None, None]]
    ) -> Generator[UnitOutcome, None, None]:
        """Yield the outcome of every unit, in order."""
        return work(units)
