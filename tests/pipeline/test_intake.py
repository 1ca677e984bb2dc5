import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydicom.dataset import Dataset
from tests.archives import Scan, dataset_of, pixels_of, write
from tests.dicom.objects import ref, scan
from tests.host.waiting import PATIENCE

from bsbatch.config import Selection, TracerRule
from bsbatch.dicom.pairing import examine
from bsbatch.errors import ItemError
from bsbatch.host.workers import Isolation
from bsbatch.pipeline import intake as module
from bsbatch.pipeline.intake import Intake, _cut
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import Examination, ObjectRef, Prediction, Quality, SettledObject, UnitOutcome
from bsbatch.sinks.parquet import ParquetSink
from bsbatch.sources.directory import DirectorySource
from bsbatch.store.catalog import Catalog, open_catalog
from bsbatch.store.committed import Committed
from bsbatch.store.tables import OBJECTS, Provenance
from bsbatch.telemetry import Telemetry


class Watched(DirectorySource):
    """Counts the objects that were listed."""

    listed = 0

    def __iter__(self) -> Iterator[ObjectRef]:
        for listed in super().__iter__():
            self.listed += 1
            yield listed


def put(archive: Path, name: str, scan: Scan, added: int = 0) -> None:
    write(dataset_of(scan, pixels_of(scan) + np.uint16(added)), archive / name)


def intake_of(source: DirectorySource, *, holds_all: bool = False) -> Intake:
    return Intake(source, Selection(), Catalog(), Telemetry(), Isolation(), threads=1, holds_all=holds_all)


def sources(exams: tuple[Examination, ...]) -> list[tuple[str, ...]]:
    return [tuple(sorted(scan.ref.source for scan in exam.scans)) for exam in exams]


def test_an_object_of_both_views_is_an_examination_before_the_next_ones_are_listed(tmp_path: Path) -> None:
    for study in range(200):
        put(tmp_path, f"{study:03d}", Scan(study, rows=64, columns=16))
    source = Watched(tmp_path)

    first = next(intake_of(source).units(1, None))

    assert sources(first.exams) == [("000",)]
    assert source.listed < 100


@pytest.mark.parametrize("holds_all", [True, False])
def test_single_views_wait_for_the_end_of_the_listing(holds_all: bool, tmp_path: Path) -> None:
    put(tmp_path, "0-ant", Scan(0, "A", 1))
    put(tmp_path, "1-post", Scan(0, "P", 2))
    put(tmp_path, "2-both", Scan(1))
    intake = intake_of(DirectorySource(tmp_path), holds_all=holds_all)

    (unit,) = intake.units(8, None)

    exams = [("0-ant", "1-post"), ("2-both",)]
    assert sources(unit.exams) == (exams if holds_all else exams[::-1])
    assert intake.is_exhausted
    assert not intake.needs_revision


def test_a_view_with_a_defect_fails_together_with_its_partner(tmp_path: Path) -> None:
    put(tmp_path, "0-ant", Scan(0, "A", 1))
    put(tmp_path, "1-post", Scan(0, "P", 2))
    os.truncate(tmp_path / "1-post", (tmp_path / "1-post").stat().st_size - 1000)

    (unit,) = intake_of(DirectorySource(tmp_path)).units(8, None)

    assert sources(unit.exams) == [("0-ant", "1-post")]
    assert [exam.defect.reason for exam in unit.exams if exam.defect] == [Reason.TRUNCATED_PIXEL_DATA]


def test_a_further_object_of_a_study_asks_for_a_revision_and_is_not_decided_before(tmp_path: Path) -> None:
    put(tmp_path, "0", Scan(0))
    put(tmp_path, "1", Scan(0), added=1)
    intake = intake_of(DirectorySource(tmp_path))

    (unit,) = intake.units(8, None)

    assert sources(unit.exams) == [("0",)]
    assert intake.needs_revision


def test_a_plan_decides_every_study_at_once(tmp_path: Path) -> None:
    put(tmp_path, "0", Scan(0))
    put(tmp_path, "1", Scan(0), added=1)

    (unit,) = intake_of(DirectorySource(tmp_path), holds_all=True).units(8, None)

    assert [exam.defect.reason for exam in unit.exams if exam.defect] == [Reason.UID_CONFLICT]
    assert sources(unit.exams) == [("0", "1")]


def test_frames_of_a_damaged_header_are_not_expanded(tmp_path: Path) -> None:
    """2^31 of them would need 64 GiB."""
    dataset = dataset_of(Scan(0))
    dataset.NumberOfFrames = 2**31 - 1
    dataset.SeriesDescription = "BODY\x01\x00"  # parts of another element
    write(dataset, tmp_path / "damaged")

    (unit,) = intake_of(DirectorySource(tmp_path)).units(8, None)

    (exam,) = unit.exams
    assert exam.defect is not None
    assert exam.defect.reason is Reason.TOO_LARGE


EXAM = examine((scan("AP", "a"),))
SETTLED = SettledObject(ref("b"), None, Verdict.of(Stage.HEADER, Reason.NOT_DICOM))


@pytest.mark.parametrize(
    ("events", "most", "first", "units"),
    [
        ("", 4, 4, []),
        ("e", 4, 4, [(1, 0)]),
        ("s", 4, 4, [(0, 1)]),
        ("eeeee", 2, 2, [(2, 0), (2, 0), (1, 0)]),
        ("eeeeeeeeee", 4, 1, [(1, 0), (2, 0), (4, 0), (3, 0)]),
        ("sesesese", 3, 2, [(2, 2), (2, 2)]),
        ("ssssss", 4, 4, [(0, 5), (0, 1)]),
        ("esssssee", 4, 4, [(1, 5), (2, 0)]),
    ],
)
def test_a_unit_ends_when_it_has_enough_examinations_or_too_many_other_objects(
    events: str, most: int, first: int, units: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_SETTLED", 5)
    cut = _cut((EXAM if kind == "e" else SETTLED for kind in events), most, first)
    assert [(len(unit.exams), len(unit.settled)) for unit in cut] == units


@pytest.mark.parametrize(("limit", "number"), [(None, 6), (1, 1), (3, 3), (6, 6), (7, 6)])
def test_a_limit_counts_new_examinations(limit: int | None, number: int, tmp_path: Path) -> None:
    for study in range(6):
        put(tmp_path, f"{study}", Scan(study))
    intake = intake_of(DirectorySource(tmp_path))

    (unit,) = intake.units(8, limit)

    assert len(unit.exams) == number
    assert intake.is_exhausted is (limit is None or limit > 6)


@pytest.mark.parametrize("views", ["A", "AP"])
def test_a_stop_reads_no_further_header_and_decides_no_study(views: str, tmp_path: Path) -> None:
    for study in range(200):
        put(tmp_path, f"{study:03d}", Scan(study, views=views, rows=64, columns=16))
    source = Watched(tmp_path)
    intake = intake_of(source)
    intake.is_stopping = lambda: source.listed >= 20

    found = [exam for unit in intake.units(8, None) for exam in unit.exams]

    assert source.listed < 100
    assert len(found) < 100
    assert all(exam.defect is None for exam in found)
    assert not intake.is_exhausted


def test_a_limit_does_not_count_examinations_that_are_tried_again(tmp_path: Path) -> None:
    for study in range(6):
        put(tmp_path, f"{study}", Scan(study))
    (all_of_them,) = intake_of(DirectorySource(tmp_path)).units(8, None)
    again = intake_of(DirectorySource(tmp_path))
    again.catalog.retried.update(exam.exam_id for exam in all_of_them.exams[:2])

    (unit,) = again.units(8, 3)

    assert len(unit.exams) == 5


def test_objects_and_their_headers_are_counted(tmp_path: Path) -> None:
    for study in range(3):
        put(tmp_path, f"{study}", Scan(study))
    (tmp_path / "text").write_text("no image")
    intake = intake_of(DirectorySource(tmp_path))

    list(intake.units(8, None))

    assert intake.seen == 4
    assert intake.telemetry.report()["header"]["items"] == 4


def test_a_header_that_is_longer_than_its_first_bytes_is_read_to_its_end(tmp_path: Path) -> None:
    dataset = dataset_of(Scan(1))
    dataset.ImageComments = "x" * 10_000
    block = dataset.private_block(0x0009, "TEST", create=True)
    for number in range(8):
        block.add_new(number, "OB", bytes(50_000))
    write(dataset, tmp_path / "long")

    (unit,) = intake_of(DirectorySource(tmp_path)).units(8, None)

    assert [exam.defect for exam in unit.exams] == [None]


@pytest.mark.parametrize(("window", "is_other"), [((126, 154), False), ((327, 400), True), (None, False)])
def test_where_any_tracer_is_used_a_window_without_140_kev_names_another_one(
    window: tuple[int, int] | None, is_other: bool, tmp_path: Path
) -> None:
    dataset = dataset_of(Scan(1))
    if window is not None:
        limits = Dataset()
        limits.EnergyWindowLowerLimit, limits.EnergyWindowUpperLimit = window
        info = Dataset()
        info.EnergyWindowRangeSequence = [limits]
        dataset.EnergyWindowInformationSequence = [info]
    write(dataset, tmp_path / "a")
    source, selection = DirectorySource(tmp_path), Selection(tracer=TracerRule.ANY)

    (unit,) = Intake(source, selection, Catalog(), Telemetry(), Isolation(), threads=1).units(8, None)

    (exam,) = unit.exams
    assert exam.defect is None
    assert exam.scans[0].tracer.is_other is is_other


class Failing(DirectorySource):
    """A folder on a disk that gives an error for one of its objects."""

    def heads(self, refs: Sequence[ObjectRef], count: int) -> list[bytes | ItemError]:
        heads = super().heads(refs, count)
        failed = ItemError(Reason.READ_ERROR, "the disk")
        return [failed if ref.source == "0" else head for ref, head in zip(refs, heads, strict=True)]


def intake_of_grown_study(archive: Path, out: Path, kind: type[DirectorySource]) -> Intake:
    """Score a study, give it a further object, and return an intake that has to revise it."""
    put(archive, "0", Scan(0))
    (unit,) = intake_of(DirectorySource(archive)).units(8, None)
    quality = Quality(1.0, 1.0, 1.0, 1.0, 0.5, 0, (), "0" * 64)
    outcomes = tuple(Prediction(exam, quality, 0.5) for exam in unit.exams)
    ParquetSink(out, Provenance("hash", "model", 0.5)).commit(UnitOutcome(outcomes, ()))
    put(archive, "1", Scan(0, instance=2))
    source = kind(archive)
    intake = intake_of(source)
    intake.catalog = open_catalog(out, source)
    assert list(intake.units(8, None)) == []
    return intake


def test_a_stop_withdraws_no_row(tmp_path: Path) -> None:
    out = tmp_path / "out"
    intake = intake_of_grown_study(tmp_path / "archive", out, DirectorySource)
    intake.is_stopping = lambda: True

    assert list(intake.revise(Committed(out), 8)) == []

    assert [row for part in (out / OBJECTS).glob("part-*") for row in pq.read_table(part)["source"].to_pylist()] == [
        "0"
    ]


def test_an_object_that_cannot_be_read_any_more_when_its_study_is_decided_anew_is_a_row(tmp_path: Path) -> None:
    out = tmp_path / "out"
    intake = intake_of_grown_study(tmp_path / "archive", out, Failing)

    (unit,) = intake.revise(Committed(out), 8)

    assert [(item.ref.source, item.verdict.reason) for item in unit.settled] == [("0", Reason.READ_ERROR)]
    assert sources(unit.exams) == [("1",)]
    assert [row for part in (out / OBJECTS).glob("part-*") for row in pq.read_table(part)["source"].to_pylist()] == []


class Remote(DirectorySource):
    """A folder that a network holds: after the first one, 16 calls must wait together."""

    together = threading.Barrier(16, timeout=PATIENCE)
    is_first = True

    def heads(self, refs: Sequence[ObjectRef], count: int) -> list[bytes | ItemError]:
        if self.is_first:
            self.is_first = False
            time.sleep(0.5)
        else:
            self.together.wait()
        return super().heads(refs, count)


def test_more_threads_than_processors_wait_for_a_slow_folder(tmp_path: Path) -> None:
    names = [f"{number:03}" for number in range(17 * DirectorySource.heads_at_once)]
    for name in names:
        (tmp_path / name).write_bytes(b"no image")
    intake = Intake(Remote(tmp_path), Selection(), Catalog(), Telemetry(), Isolation(), threads=2)

    (unit,) = intake.units(8, None)

    assert [item.ref.source for item in unit.settled] == names


class Counted(DirectorySource):
    """A source that waits for the objects of a call together, as a bucket does; counts its calls at one time."""

    heads_at_once = 64
    calls = most = 0
    lock = threading.Lock()

    def heads(self, refs: Sequence[ObjectRef], count: int) -> list[bytes | ItemError]:
        with self.lock:
            self.calls += 1
            self.most = max(self.most, self.calls)
        time.sleep(0.05)
        with self.lock:
            self.calls -= 1
        return super().heads(refs, count)


def test_a_source_that_waits_for_many_objects_at_once_gets_a_thread_for_each_processor(tmp_path: Path) -> None:
    for number in range(5 * 64):
        (tmp_path / f"{number}").write_bytes(b"no image")
    source = Counted(tmp_path)
    intake = Intake(source, Selection(), Catalog(), Telemetry(), Isolation(), threads=2)

    list(intake.units(8, None))

    assert source.most <= 2
