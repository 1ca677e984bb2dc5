"""Atomic Parquet parts: written aside, flushed to the disk, renamed."""

import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bsbatch.catalog import Catalog
from bsbatch.errors import OutputError
from bsbatch.records import UnitOutcome
from bsbatch.tables import OBJECTS, RESULTS, Provenance, Row, object_rows, part_name, parts_in, result_rows, to_table

_COMPRESSION = "zstd"


class ParquetSink:
    """Commits units into ``OUT/results`` and ``OUT/objects``."""

    def __init__(self, out: Path, provenance: Provenance, catalog: Catalog) -> None:
        """Number the parts on from what is there and remove what a killed run wrote aside.

        Raises
        ------
        OutputError
            The folder cannot be written to.
        """
        self._out, self._provenance, self._catalog = out, provenance, catalog
        try:
            for table in (RESULTS, OBJECTS):
                (out / table).mkdir(parents=True, exist_ok=True)
                for leftover in (out / table).glob(".part-*"):
                    leftover.unlink()
        except OSError as error:
            raise OutputError.of(out, error) from error
        numbers = [int(path.stem.split("-")[1]) for table in (RESULTS, OBJECTS) for path in parts_in(out / table)]
        self._next = max(numbers, default=-1) + 1

    def commit(self, outcome: UnitOutcome) -> None:
        """Make one unit durable; rows that replace older ones take their place.

        Raises
        ------
        OutputError
            The folder cannot be written to.
        """
        results = [row for row in result_rows(outcome, self._provenance) if not self._catalog.has_result(row)]
        objects = [row for row in object_rows(outcome) if not self._catalog.has_object(row)]
        try:
            self._retire(results, objects)
            if results:
                self._write(RESULTS, part_name(self._next), to_table(RESULTS, results, self._provenance.config_hash))
            if objects:
                self._write(OBJECTS, part_name(self._next), to_table(OBJECTS, objects, self._provenance.config_hash))
        except OSError as error:
            raise OutputError.of(self._out, error) from error
        self._next += 1

    def finish(self) -> None:
        """Leave readable tables even where nothing was recognised, without the rows that have become obsolete.

        Raises
        ------
        OutputError
            The folder cannot be written to.
        """
        try:
            self._retire([], [{"source": source} for source in self._catalog.obsolete])
            for table in (RESULTS, OBJECTS):
                if not parts_in(self._out / table):
                    self._write(table, part_name(0), to_table(table, [], self._provenance.config_hash))
        except OSError as error:
            raise OutputError.of(self._out, error) from error

    def _retire(self, results: list[Row], objects: list[Row]) -> None:
        """Take out the rows that new ones replace, with all rows of their examinations; results first, objects last."""
        for part, exam_ids in _grouped(self._catalog.failed_part, (row["exam_id"] for row in results)).items():
            self._rewrite(RESULTS, part, "exam_id", exam_ids)
        for part, sources in _grouped(self._catalog.open_part, (row["source"] for row in objects)).items():
            exam_ids = self._exams_of(part, sources)
            self._rewrite(RESULTS, part, "exam_id", exam_ids)
            self._rewrite(OBJECTS, part, "exam_id", exam_ids)
            self._rewrite(OBJECTS, part, "source", sources)

    def _exams_of(self, part: str, sources: Collection[str]) -> set[str]:
        path = self._out / OBJECTS / part
        if not path.exists():
            return set()
        table = pq.read_table(path, columns=["source", "exam_id"], filters=pc.field("source").isin(list(sources)))
        return {exam_id for exam_id in table["exam_id"].to_pylist() if exam_id is not None}

    def _rewrite(self, table: str, part: str, column: str, dropped: Collection[str]) -> None:
        path = self._out / table / part
        if not dropped or not path.exists():
            return
        rows = pq.read_table(path)
        kept = rows.filter(pc.invert(pc.is_in(rows[column], pa.array(sorted(dropped), pa.string()))))
        if len(kept) == len(rows):
            return
        if len(kept):
            self._write(table, part, kept)
        else:
            path.unlink()

    def _write(self, table: str, name: str, rows: pa.Table) -> None:
        folder = self._out / table
        aside = folder / f".{name}"
        with aside.open("wb") as stream:
            pq.write_table(rows, stream, compression=_COMPRESSION)
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(folder / name)
        _sync_folder(folder)


def _grouped(part_of: Callable[[str], str | None], keys: Iterable[str]) -> dict[str, set[str]]:
    groups: dict[str, set[str]] = {}
    for key in keys:
        part = part_of(key)
        if part is not None:
            groups.setdefault(part, set()).add(key)
    return groups


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
