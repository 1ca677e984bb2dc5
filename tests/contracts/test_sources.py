"""Every source lists, reads and versions the same objects alike, and runs over them give equal rows."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.archives import write_mixed
from tests.end_to_end.tables import objects as object_rows
from tests.end_to_end.tables import results
from tests.sources.storages import PACKERS, BucketStorage, FolderStorage, PackedStorage, Storage
from tests.stores import SERVICES, Service

from bsbatch.config import BackendName, RunConfig
from bsbatch.errors import ItemError
from bsbatch.protocols import Source
from bsbatch.reasons import Reason
from bsbatch.records import ObjectRef
from bsbatch.run.report import SilentReporter
from bsbatch.run.screen import screen
from bsbatch.sources.address import open_source

pytest_plugins = ["tests.store_fixtures"]

NAMES = ["a/b/c", "a/b.dcm", "a.b/c", "a b/c", "Z", ".hidden/x", "ä/ö", "日本/語", "empty"]
OBJECTS = {name: b"" if name == "empty" else name.encode() * 3000 for name in NAMES}
STORAGES: dict[str, Callable[[Path], Storage]] = {
    "folder": lambda folder: FolderStorage(folder / "archive"),
    **{name: partial(PackedStorage, name=name) for name in PACKERS},
}
BUCKETS = {service.scheme: service for service in SERVICES}
PLACE = {"source", "size", "version", "source_anterior", "source_posterior"}
"""Columns that depend on where an object lies."""


@pytest.fixture(params=[*STORAGES, *BUCKETS])
def storage(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    start_store: Callable[[Service], str],
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Storage:
    """Storage of each kind, empty."""
    if request.param in STORAGES:
        return STORAGES[request.param](tmp_path)
    service = BUCKETS[request.param]
    service.use(start_store(service), monkeypatch)
    return BucketStorage(service, prefix)


def listed(storage: Storage) -> tuple[Source, dict[str, ObjectRef]]:
    """The source, and its objects by the names that they were stored under."""
    source = open_source(storage.address)
    return source, {ref.source.removeprefix(storage.prefix): ref for ref in source}


def test_all_objects_are_listed_in_a_stable_order_under_distinct_names(storage: Storage) -> None:
    storage.store(OBJECTS)

    source, found = listed(storage)

    assert sorted(found) == sorted(OBJECTS)
    assert [ref.source for ref in source] == [ref.source for ref in found.values()]
    assert all(ref.problem is None for ref in found.values())
    assert {name: ref.size for name, ref in found.items() if ref.size is not None}.items() <= {
        name: len(data) for name, data in OBJECTS.items()
    }.items()


@pytest.mark.parametrize("count", [1, 100, 8192, 1 << 20])
def test_heads_are_the_first_bytes_of_each_object_in_the_order_asked_for(storage: Storage, count: int) -> None:
    storage.store(OBJECTS)
    source, found = listed(storage)
    names = sorted(found, key=hash)

    assert source.heads([found[name] for name in names], count) == [OBJECTS[name][:count] for name in names]
    assert source.heads([], count) == []


def test_an_object_opens_seekable_at_its_first_byte(storage: Storage) -> None:
    storage.store(OBJECTS)
    source, found = listed(storage)

    for name, data in OBJECTS.items():
        with source.open(found[name]) as stream:
            assert stream.read(3) == data[:3]
            assert stream.seek(-2, 2) == len(data) - 2 if data else True
            stream.seek(0)
            assert stream.read() == data


def test_the_place_of_an_object_in_a_file_holds_its_bytes(storage: Storage) -> None:
    storage.store(OBJECTS)
    source, found = listed(storage)

    for name, data in OBJECTS.items():
        place = source.file(found[name])
        if place is not None:
            path, offset = place.path, place.offset
            assert Path(path).read_bytes()[offset : offset + len(data)] == data


def test_the_version_changes_with_the_content_alone(storage: Storage) -> None:
    storage.store(OBJECTS)
    _, before = listed(storage)
    storage.store(OBJECTS | {"Z": b"z" * len(OBJECTS["Z"])})
    _, after = listed(storage)

    changed = {name for name in OBJECTS if before[name][2:] != after[name][2:]}

    assert changed == {"Z"}


def test_an_object_that_is_gone_fails_alone(storage: Storage) -> None:
    if storage.is_one_file:
        pytest.skip("no member goes without its container")
    storage.store(OBJECTS)
    source, found = listed(storage)
    storage.store({name: data for name, data in OBJECTS.items() if name != "Z"})

    gone, there = source.heads([found["Z"], found["a/b/c"]], 100)

    assert isinstance(gone, ItemError)
    assert gone.reason == Reason.READ_ERROR
    assert there == OBJECTS["a/b/c"][:100]
    with pytest.raises(ItemError) as caught:
        source.open(found["Z"])
    assert caught.value.reason == Reason.READ_ERROR


def test_threads_read_different_objects_at_once(storage: Storage) -> None:
    storage.store(OBJECTS)
    source, found = listed(storage)

    def read(name: str) -> bool:
        with source.open(found[name]) as stream:
            return stream.read() == OBJECTS[name] and source.heads([found[name]], 50) == [OBJECTS[name][:50]]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, [*OBJECTS] * 20))


@pytest.fixture(scope="session")
def scans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Objects of every status, by name."""
    folder = tmp_path_factory.mktemp("mixed")
    write_mixed(folder, 30)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run(storage: Storage, out: Path) -> None:
    screen(RunConfig(storage.address, out=out, backend=BackendName.FAKE, max_error_rate=1.0), SilentReporter())


def rows_of(out: Path, prefix: str = "") -> list[list[dict[str, Any]]]:
    """Rows of both tables in the order of their sources and examinations, without what depends on the storage."""
    tables = (
        sorted(results(out), key=lambda row: row["exam_id"]),
        sorted(object_rows(out), key=lambda row: row["source"].removeprefix(prefix)),
    )
    return [[{name: value for name, value in row.items() if name not in PLACE} for row in rows] for rows in tables]


def test_a_run_gives_the_rows_of_a_run_over_a_folder(storage: Storage, scans: dict[str, bytes], tmp_path: Path) -> None:
    plain = FolderStorage(tmp_path / "plain")
    for place, out in ((storage, tmp_path / "out"), (plain, tmp_path / "out-plain")):
        place.store(scans)
        run(place, out)

    found = rows_of(tmp_path / "out", storage.prefix)

    assert found == rows_of(tmp_path / "out-plain")
    assert {row["status"] for row in found[1]} == {"used", "skipped", "failed"}


def test_a_run_that_is_resumed_reads_changed_objects_alone(
    storage: Storage, scans: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, read = tmp_path / "out", set[str]()
    storage.store(scans)
    run(storage, out)
    before = {row["source"]: row for row in object_rows(out)}
    kind = type(open_source(storage.address))
    heads = kind.heads

    def watch(self: Source, refs: Sequence[ObjectRef], count: int) -> list[bytes | ItemError]:
        read.update(ref.source for ref in refs)
        return heads(self, refs, count)

    monkeypatch.setattr(kind, "heads", watch)

    run(storage, out)
    doubtful = set(read)  # failed ones, and the others of their studies
    assert {name for name, row in before.items() if row["status"] == "failed"} <= doubtful < {*before}
    read.clear()

    changed = next(name for name in sorted(scans) if name.startswith("b/two"))
    other = scans[changed]
    storage.store(scans | {changed: other[:-4] + bytes(4), "new": other.replace(b"10.", b"11.")})
    run(storage, out)
    assert read == doubtful | {storage.prefix + changed, storage.prefix + "new"}
    assert {row["source"] for row in object_rows(out)} == {*before, storage.prefix + "new"}
