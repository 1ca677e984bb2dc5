"""Parts appear whole or not at all, and rows that do not add up are errors."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.dicom.objects import scan

from bsbatch.dicom.pairing import examine
from bsbatch.errors import OutputError
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import ObjectRef, Prediction, Quality, SettledObject, UnitOutcome
from bsbatch.sinks.parquet import ParquetSink
from bsbatch.store.parts import parts_in
from bsbatch.store.reconcile import reconcile
from bsbatch.store.tables import OBJECTS, RESULTS, Provenance, schema_of

PROVENANCE = Provenance("hash", "model", 0.5)
QUALITY = Quality(1.0, 1.0, 1.0, 1.0, 0.5, 0, (), "00")


def settled(*sources: str, reason: Reason = Reason.NOT_DICOM) -> UnitOutcome:
    items = [SettledObject(ObjectRef(name, name, 1, "1"), None, Verdict.of(Stage.HEADER, reason)) for name in sources]
    return UnitOutcome((), tuple(items))


def sink(out: Path) -> ParquetSink:
    return ParquetSink(out, PROVENANCE)


def test_a_part_of_objects_alone_needs_no_part_of_results(tmp_path: Path) -> None:
    sink(tmp_path).commit(settled("a", "b"))
    assert len(parts_in(tmp_path / OBJECTS)) == 1
    assert parts_in(tmp_path / RESULTS) == []


def test_finish_leaves_both_tables_readable(tmp_path: Path) -> None:
    writer = sink(tmp_path)
    writer.commit(settled("a"))
    writer.finish()
    assert pq.read_table(tmp_path / RESULTS).schema.equals(schema_of(RESULTS, "hash"))
    assert pq.read_table(tmp_path / RESULTS).num_rows == 0


def test_part_numbers_continue_after_a_restart(tmp_path: Path) -> None:
    sink(tmp_path).commit(settled("a"))
    sink(tmp_path).commit(settled("b"))
    assert [path.name for path in parts_in(tmp_path / OBJECTS)] == ["part-000000.parquet", "part-000001.parquet"]


def test_unfinished_parts_of_a_killed_run_are_removed_and_never_read(tmp_path: Path) -> None:
    sink(tmp_path).commit(settled("a"))
    (tmp_path / OBJECTS / ".part-000001.parquet").write_bytes(b"half a part")
    assert pq.read_table(tmp_path / OBJECTS).num_rows == 1
    sink(tmp_path)
    assert not list((tmp_path / OBJECTS).glob(".part-*"))


def test_a_unit_that_stops_between_its_two_parts_has_results_and_no_objects(tmp_path: Path) -> None:
    writer = sink(tmp_path)
    (tmp_path / OBJECTS / ".part-000000.parquet.partial").mkdir()  # so the second part cannot be written

    with pytest.raises(OutputError):
        writer.commit(UnitOutcome((Prediction(examine((scan("AP", "a"),)), QUALITY, 0.5),), ()))

    assert (len(parts_in(tmp_path / RESULTS)), parts_in(tmp_path / OBJECTS)) == (1, [])


def test_a_missing_row_is_an_error(tmp_path: Path) -> None:
    sink(tmp_path).commit(settled("a"))
    with pytest.raises(OutputError, match="2 objects were seen and 1 have a row"):
        reconcile(tmp_path, 2, is_complete=True)


def test_a_duplicate_row_is_an_error(tmp_path: Path) -> None:
    writer = sink(tmp_path)
    writer.commit(settled("a"))
    writer.commit(settled("a"))
    with pytest.raises(OutputError, match="more than one row"):
        reconcile(tmp_path, 1, is_complete=True)
