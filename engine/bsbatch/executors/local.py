"""Units one after the other, in this process."""

from collections.abc import Callable, Iterable, Iterator

from bsbatch.records import Unit, UnitOutcome


class LocalExecutor:
    """Executes each unit as it is asked for."""

    def run(self, units: Iterable[Unit], work: Callable[[Unit], UnitOutcome]) -> Iterator[UnitOutcome]:
        """Yield the outcome of every unit, in order."""
        return map(work, units)
