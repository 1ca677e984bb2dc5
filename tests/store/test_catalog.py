from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.dicom.objects import header

from bsbatch.errors import OutputError
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import ObjectRef, SettledObject, UnitOutcome
from bsbatch.sinks.parquet import ParquetSink
from bsbatch.store.catalog import Catalog, open_catalog
from bsbatch.store.tables import OBJECTS, Provenance


def ref(source: str, version: str = "1") -> ObjectRef:
    return ObjectRef(source, source, 10, version)


def commit(out: Path, reason: Reason, *refs: ObjectRef) -> None:
    settled = tuple(SettledObject(item, None, Verdict.of(Stage.HEADER, reason)) for item in refs)
    ParquetSink(out, Provenance("hash", "model", 0.5)).commit(UnitOutcome((), settled))


def sources(out: Path) -> list[str]:
    parts = sorted((out / OBJECTS).glob("part-*"))
    return sorted(source for part in parts for source in pq.read_table(part)["source"].to_pylist())


def test_an_empty_folder_settles_no_object_and_does_not_list_the_archive(tmp_path: Path) -> None:
    def refuse() -> list[ObjectRef]:
        raise AssertionError("iterated for nothing")

    catalog = open_catalog(tmp_path / "nowhere", (item for _ in range(1) for item in refuse()))

    assert not catalog.is_settled(ref("a"))


def test_an_unchanged_skipped_object_is_settled_and_the_row_of_a_changed_one_is_removed(tmp_path: Path) -> None:
    commit(tmp_path, Reason.NOT_DICOM, ref("a"), ref("b"))

    catalog = open_catalog(tmp_path, [ref("a"), ref("b", version="2")])

    assert catalog.is_settled(ref("a"))
    assert not catalog.is_settled(ref("b", version="2"))
    assert sources(tmp_path) == ["a"]


def test_a_failed_object_is_processed_again(tmp_path: Path) -> None:
    commit(tmp_path, Reason.PERMISSION_DENIED, ref("a"))
    commit(tmp_path, Reason.NOT_DICOM, ref("b"))

    catalog = open_catalog(tmp_path, [ref("a"), ref("b")])

    assert not catalog.is_settled(ref("a"))
    assert sources(tmp_path) == ["b"]


def test_an_object_that_was_deleted_keeps_its_row(tmp_path: Path) -> None:
    commit(tmp_path, Reason.NOT_DICOM, ref("a"))
    open_catalog(tmp_path, [ref("b")])
    assert sources(tmp_path) == ["a"]


def test_parts_without_a_change_are_not_written_again(tmp_path: Path) -> None:
    commit(tmp_path, Reason.NOT_DICOM, ref("a"))
    (part,) = (tmp_path / OBJECTS).glob("part-*")
    before = part.stat().st_mtime_ns
    open_catalog(tmp_path, [ref("a")])
    assert part.stat().st_mtime_ns == before


def test_the_error_names_a_part_that_is_not_parquet(tmp_path: Path) -> None:
    commit(tmp_path, Reason.NOT_DICOM, ref("a"))
    (tmp_path / OBJECTS / "part-000001.parquet").write_bytes(b"nonsense")
    with pytest.raises(OutputError, match=r"part-000001.parquet cannot be read"):
        open_catalog(tmp_path, [ref("a")])


def test_a_new_catalog_is_empty() -> None:
    catalog = Catalog()
    assert not catalog.is_settled(ref("a"))
    assert len(catalog.studies) == 0


def test_a_copy_is_decided_anew_with_its_study_and_other_objects_of_the_study_stay(tmp_path: Path) -> None:
    rows = [
        ("copy", "1.2", Stage.PAIRING, Reason.DUPLICATE_VIEW),
        ("derived", "1.2", Stage.PAIRING, Reason.DERIVED_COPY),
        ("other", "1.2", Stage.HEADER, Reason.NOT_WHOLE_BODY),
        ("failed", "1.2", Stage.HEADER, Reason.DECODE_FAILED),
        ("copy elsewhere", "1.3", Stage.PAIRING, Reason.DUPLICATE_VIEW),
    ]
    settled = tuple(
        SettledObject(ref(name), header(study_uid=study), Verdict.of(stage, reason))
        for name, study, stage, reason in rows
    )
    ParquetSink(tmp_path, Provenance("hash", "model", 0.5)).commit(UnitOutcome((), settled))

    catalog = open_catalog(tmp_path, [item.ref for item in settled])

    assert sources(tmp_path) == ["copy elsewhere", "other"]
    assert [catalog.is_settled(item.ref) for item in settled] == [False, False, True, False, True]
