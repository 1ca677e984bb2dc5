from collections.abc import Iterator, Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.archives import Scan, dataset_of, write

from bsbatch.errors import ItemError
from bsbatch.records import ObjectRef
from bsbatch.run.quiet import QuietSource
from bsbatch.sources.directory import DirectorySource

QUIET = 10.0


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def put(archive: Path, name: str, study: int, views: str = "A", instance: int = 1) -> None:
    write(dataset_of(Scan(study, views, instance)), archive / name)


def names(source: QuietSource) -> list[str]:
    return [ref.source for ref in source]


def refresh(source: QuietSource, clock: Clock, seconds: float) -> list[str]:
    clock.now += seconds
    source.refresh()
    return names(source)


def test_a_study_arrives_once_none_of_its_files_has_come_for_the_quiet_time(tmp_path: Path, clock: Clock) -> None:
    source = QuietSource(DirectorySource(tmp_path), QUIET, clock)
    put(tmp_path, "a", 1)
    assert refresh(source, clock, 0) == []
    put(tmp_path, "b", 1, "P", 2)
    put(tmp_path, "c", 2)
    assert refresh(source, clock, QUIET - 1) == []
    assert source.waiting == 3

    assert refresh(source, clock, 1) == []  # "a" is old enough, its study is not
    assert refresh(source, clock, QUIET - 1) == ["a", "b", "c"]
    assert (source.waiting, source.arrived) == (0, 3)


def test_a_file_that_changes_is_new_again(tmp_path: Path, clock: Clock) -> None:
    source = QuietSource(DirectorySource(tmp_path), QUIET, clock)
    (tmp_path / "note").write_text("half")
    refresh(source, clock, 0)
    (tmp_path / "note").write_text("half and half")
    assert refresh(source, clock, QUIET) == []
    assert refresh(source, clock, QUIET) == ["note"]
    (tmp_path / "note").write_text("another")
    assert names(source) == []
    assert refresh(source, clock, 1) == []
    assert refresh(source, clock, QUIET) == ["note"]


def test_files_of_unknown_studies_wait_for_themselves_alone(tmp_path: Path, clock: Clock) -> None:
    source = QuietSource(DirectorySource(tmp_path), QUIET, clock)
    (tmp_path / "a").write_text("no DICOM")
    refresh(source, clock, 0)
    (tmp_path / "b").write_text("no DICOM")
    refresh(source, clock, QUIET - 1)

    assert refresh(source, clock, 1) == ["a"]


def test_a_study_that_has_arrived_stays_while_a_further_file_of_it_is_new(tmp_path: Path, clock: Clock) -> None:
    source = QuietSource(DirectorySource(tmp_path), QUIET, clock)
    put(tmp_path, "a", 1)
    refresh(source, clock, 0)
    assert refresh(source, clock, QUIET) == ["a"]
    put(tmp_path, "b", 1, "P", 2)

    assert refresh(source, clock, 1) == ["a"]
    assert refresh(source, clock, QUIET) == ["a", "b"]


def test_a_file_that_goes_before_it_has_arrived_is_forgotten(tmp_path: Path, clock: Clock) -> None:
    source = QuietSource(DirectorySource(tmp_path), QUIET, clock)
    put(tmp_path, "a", 1)
    put(tmp_path, "b", 1, "P", 2)
    refresh(source, clock, 0)
    (tmp_path / "b").unlink()

    assert refresh(source, clock, QUIET) == ["a"]
    assert source.waiting == 0


class Counting(DirectorySource):
    """Counts the heads that are read."""

    read = 0

    def heads(self, refs: Sequence[ObjectRef], count: int) -> list[bytes | ItemError]:
        self.read += len(refs)
        return super().heads(refs, count)


def test_the_head_of_a_waiting_file_is_read_once(tmp_path: Path, clock: Clock) -> None:
    put(tmp_path, "a", 1)
    counting = Counting(tmp_path)
    source = QuietSource(counting, QUIET, clock)

    for _ in range(5):
        refresh(source, clock, 1)

    assert counting.read == 1


class Memory(DirectorySource):
    """Objects of studies 0 to 3 in memory."""

    def __init__(self, studies: dict[str, int]) -> None:
        self.studies = studies

    def __iter__(self) -> Iterator[ObjectRef]:
        return (ObjectRef(name, name, 1, "1") for name in self.studies)

    def heads(self, refs: Sequence[ObjectRef], count: int) -> list[bytes | ItemError]:
        return [head_of(self.studies[ref.source])[:count] for ref in refs]


@lru_cache
def head_of(study: int) -> bytes:
    """The first bytes of an object of a study."""
    stream = BytesIO()
    dataset_of(Scan(study)).save_as(stream, enforce_file_format=True)
    return stream.getvalue()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8)), max_size=12))
def test_no_file_is_lost_and_none_comes_early(arrivals: list[tuple[int, int]]) -> None:
    clock, there, last = Clock(), dict[str, int](), dict[int, float]()
    source = QuietSource(Memory(there), QUIET, clock)
    before = set[str]()
    for number, (study, pause) in enumerate(arrivals):
        clock.now += pause
        there[str(number)], last[study] = study, clock.now
        source.refresh()
        found = set(names(source))
        quiet = {study for study, seconds in last.items() if clock.now - seconds >= QUIET}
        assert before <= found
        assert {there[name] for name in found - before} <= quiet
        assert {there[name] for name in there.keys() - found}.isdisjoint(quiet)
        before = found
    clock.now += QUIET
    source.refresh()
    assert names(source) == list(there)
