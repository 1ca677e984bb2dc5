"""The cost of a file, counted instead of timed: opens, bytes and calls of the interpreter cannot drift unnoticed."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO, FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from tests.archives import Scan, ct_slice, dataset_of, write

from bsbatch.config import Selection
from bsbatch.dicom.headers import fast
from bsbatch.dicom.headers.read import HEAD
from bsbatch.dicom.selection import may_be_scan
from bsbatch.errors import ItemError
from bsbatch.host.workers import Isolation
from bsbatch.imaging import preprocess, quality
from bsbatch.native.view_pairs import pair_functions
from bsbatch.pipeline import preparation
from bsbatch.pipeline.intake import Intake
from bsbatch.pipeline.preparation import Preparation
from bsbatch.records import Examination, ObjectRef, PreparedExam, SettledObject
from bsbatch.sources.directory import DirectorySource
from bsbatch.store.catalog import Catalog
from bsbatch.telemetry import Telemetry

KIB = 1024
OTHERS = ["CT_small.dcm", "MR_small.dcm", "rtdose.dcm", "reportsi.dcm"]


class CountedFile(FileIO):
    """A file that counts the bytes read from it."""

    def __init__(self, path: str, work: Counter[str]) -> None:
        super().__init__(path)
        self._work = work
        work["opens"] += 1

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._work["reads"] += 1
        self._work["bytes"] += len(data or b"")
        return data or b""


class CountedSource(DirectorySource):
    """A folder that counts the files opened in it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.work: Counter[str] = Counter()

    def heads(self, refs: Sequence[ObjectRef], count: int) -> list[bytes | ItemError]:
        heads = super().heads(refs, count)
        read = sum(len(head) for head in heads if isinstance(head, bytes))
        self.work.update(opens=len(refs), reads=len(refs), bytes=read)
        return heads

    def open(self, ref: ObjectRef) -> Any:
        return CountedFile(str(ref.location), self.work)


def calls_of(function: Callable[[], Any]) -> int:
    """Calls of functions written in Python and in C."""
    count = 0

    def profile(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    for _ in range(3):  # work done once for all files that look alike is not counted
        function()
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def intake_of(source: DirectorySource) -> Intake:
    return Intake(source, Selection(), Catalog(), Telemetry(), Isolation(), threads=1)


def preparation_of(source: DirectorySource) -> Preparation:
    return Preparation(source, Telemetry(), Isolation())


def events_of(source: DirectorySource) -> Iterator[Examination | SettledObject]:
    for unit in intake_of(source).units(8, None):
        yield from unit.exams
        yield from unit.settled


@pytest.fixture(autouse=True)
def nothing_was_read_before() -> None:
    fast._templates_of.cache_clear()


@pytest.fixture(params=[*OTHERS, "phantom"])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> CountedSource:
    """A folder with one object that is no bone scan, its pixels and the rest of its header included."""
    if request.param == "phantom":
        write(ct_slice(1), tmp_path / "a")
    else:
        (tmp_path / "a").write_bytes(Path(str(get_testdata_file(request.param, download=False))).read_bytes())
    return CountedSource(tmp_path)


@pytest.fixture
def scan(tmp_path: Path) -> CountedSource:
    """A folder with one object of two views."""
    write(dataset_of(Scan(1, rows=1024)), tmp_path / "a")
    return CountedSource(tmp_path)


def test_an_object_that_is_no_bone_scan_costs_one_open_and_one_read_of_some_kilobytes(other: CountedSource) -> None:
    (event,) = events_of(other)

    assert isinstance(event, SettledObject)
    assert (other.work["opens"], other.work["reads"]) == (1, 1)
    assert other.work["bytes"] <= 8 * KIB


def test_an_object_laid_out_as_two_before_costs_few_calls_where_it_is_no_bone_scan(other: CountedSource) -> None:
    (ref,) = other
    intake, (head,) = intake_of(other), other.heads([ref], HEAD)
    for _ in range(2):
        intake._inspect(ref, head)

    assert calls_of(lambda: intake._inspect(ref, head)) < 48


def test_a_header_that_looks_like_none_before_costs_a_few_calls_for_each_element() -> None:
    data = Path(str(get_testdata_file("CT_small.dcm", download=False))).read_bytes()[: 8 * KIB]
    elements = len(pydicom.dcmread(BytesIO(data), stop_before_pixels=True, force=True))

    assert calls_of(lambda: fast._walk(data, len(data), may_be_scan)) < 1.5 * elements


@pytest.fixture
def without_compiled_part(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (quality, preprocess, preparation):
        monkeypatch.setattr(module, "pair_functions", lambda: None)


@pytest.mark.usefixtures("without_compiled_part")
def test_an_object_of_two_views_is_opened_once_for_its_header_and_once_for_its_pixels(scan: CountedSource) -> None:
    (exam,) = events_of(scan)
    assert (scan.work["opens"], scan.work["reads"]) == (1, 1)
    scan.work.clear()

    assert isinstance(exam, Examination)
    preparation_of(scan).prepare([exam])

    assert (scan.work["opens"], scan.work["reads"]) == (1, 1)
    assert scan.work["bytes"] == 2 * 1024 * 256 * np.dtype(np.uint16).itemsize


def test_the_header_of_an_object_of_two_views_costs_few_calls(scan: CountedSource) -> None:
    (ref,) = scan
    intake, (head,) = intake_of(scan), scan.heads([ref], HEAD)

    assert calls_of(lambda: intake._inspect(ref, head)) < 160


def test_its_pixels_are_loaded_by_one_call_of_compiled_code_and_few_others(
    scan: CountedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    native = pair_functions()
    if native is None:
        pytest.skip("bsbatch was installed without a C compiler")
    requests, load = list[Any](), native._load

    def count(*arguments: Any) -> Any:
        requests.append(arguments)
        return load(*arguments)

    monkeypatch.setattr(native, "_load", count)
    (exam,) = events_of(scan)
    scan.work.clear()
    assert isinstance(exam, Examination)
    made = preparation_of(scan)

    (sample,) = made.prepare([exam])

    assert isinstance(sample, PreparedExam)
    assert len(requests) == 1
    assert not scan.work
    assert calls_of(lambda: made.prepare([exam])) < 150


def test_pixels_of_several_objects_are_loaded_by_one_call_and_fewer_others_for_each(tmp_path: Path) -> None:
    if pair_functions() is None:
        pytest.skip("bsbatch was installed without a C compiler")
    for study in range(8):
        write(dataset_of(Scan(study, rows=1024)), tmp_path / f"{study}")
    source = DirectorySource(tmp_path)
    exams = [exam for exam in events_of(source) if isinstance(exam, Examination)]
    made = preparation_of(source)

    assert calls_of(lambda: made.prepare(exams)) < 120 * len(exams)


@pytest.mark.usefixtures("without_compiled_part")
def test_without_a_compiled_part_its_pixels_cost_few_calls(scan: CountedSource) -> None:
    (exam,) = events_of(scan)
    assert isinstance(exam, Examination)
    made = preparation_of(scan)

    assert calls_of(lambda: made.prepare([exam])) < 560
