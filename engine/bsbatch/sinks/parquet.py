"""Parquet parts of a unit, written whole: first ``results``, then ``objects``."""

from pathlib import Path

from bsbatch.errors import OutputError
from bsbatch.records import UnitOutcome
from bsbatch.store.parts import number_of, parts_in, remove_leftovers, write_part
from bsbatch.store.tables import OBJECTS, RESULTS, Provenance, Row, object_rows, result_rows, to_table


class ParquetSink:
    """Commits units into ``OUT/results`` and ``OUT/objects``."""

    def __init__(self, out: Path, provenance: Provenance) -> None:
        """Continue the numbers of the existing parts and remove the unfinished files of a killed run.

        Raises
        ------
        OutputError
            The folder cannot be written to.
        """
        self._out, self._provenance = out, provenance
        try:
            for table in (RESULTS, OBJECTS):
                (out / table).mkdir(parents=True, exist_ok=True)
                remove_leftovers(out / table)
        except OSError as error:
            raise OutputError.of(out, error) from error
        parts = [*parts_in(out / RESULTS), *parts_in(out / OBJECTS)]
        self._next = max(map(number_of, parts), default=-1) + 1

    def commit(self, outcome: UnitOutcome) -> None:
        """Make one unit durable.

        Raises
        ------
        OutputError
            The folder cannot be written to.
        """
        self._write(RESULTS, result_rows(outcome, self._provenance))
        self._write(OBJECTS, object_rows(outcome))
        self._next += 1

    def finish(self) -> None:
        """Write an empty part for a table without parts, so that both tables can be read.

        Raises
        ------
        OutputError
            The folder cannot be written to.
        """
        for table in (RESULTS, OBJECTS):
            if not parts_in(self._out / table):
                self._write(table, [], is_required=True)

    def _write(self, table: str, rows: list[Row], *, is_required: bool = False) -> None:
        if not rows and not is_required:
            return
        provenance = self._provenance
        try:
            content = to_table(table, rows, provenance.config_hash, **provenance.extent)
            write_part(self._out / table, self._next, content)
        except OSError as error:
            raise OutputError.of(self._out, error) from error
