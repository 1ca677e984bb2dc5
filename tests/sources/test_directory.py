import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.host.waiting import PATIENCE

from bsbatch.errors import ItemError, SourceError, UsageError
from bsbatch.native.files import FileStatus, statuses_of
from bsbatch.reasons import Reason, Stage
from bsbatch.records import ObjectRef
from bsbatch.sources import directory
from bsbatch.sources.directory import DirectorySource

AWKWARD = [
    "a/b/c",
    "a/b.dcm",
    "a-b/c",
    "a.b/c",
    "a b/c",
    "a0/c",
    "a",
    "A/z",
    "ab/c",
    "a!/c",
    "Z",
    "z/.hidden",
    ".hidden/x",
    "ä/ö",
    "日本/語",
    "new\nline",
    "back\\slash",
    "tail ",
]


def fill(folder: Path, names: list[str]) -> list[str]:
    """Create files of these names, except if a folder has the name already."""
    made = []
    for name in sorted(names, key=len, reverse=True):
        path = folder / name
        if path.exists() or any(parent.is_file() for parent in path.parents):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        made.append(name)
    return made


def listed(folder: Path) -> list[str]:
    return [ref.source for ref in DirectorySource(folder)]


def only(folder: Path) -> ObjectRef:
    (ref,) = DirectorySource(folder)
    return ref


def problem(ref: ObjectRef) -> tuple[Stage, Reason] | None:
    return (ref.problem.stage, ref.problem.reason) if ref.problem is not None else None


def test_awkward_names_come_in_the_order_of_their_relative_paths(tmp_path: Path) -> None:
    made = fill(tmp_path, AWKWARD)

    assert listed(tmp_path) == sorted(made)


NAMES = st.text(alphabet="ab-.! 0é~", min_size=1, max_size=4).filter(lambda name: name.strip(".") != "")


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(NAMES, min_size=1, max_size=3).map("/".join), max_size=12))
def test_any_names_come_in_the_order_of_their_relative_paths(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("names")
    made = fill(folder, names)

    assert listed(folder) == sorted(made)


def test_a_reference_has_the_size_and_time_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.dcm").write_bytes(b"12345")

    ref = only(tmp_path)

    assert (ref.source, ref.size, ref.problem) == ("a/b.dcm", 5, None)
    assert ref.version == str((tmp_path / "a" / "b.dcm").stat().st_mtime_ns)
    with DirectorySource(tmp_path).open(ref) as stream:
        assert stream.read() == b"12345"


def test_an_empty_folder_lists_no_object(tmp_path: Path) -> None:
    (tmp_path / "empty" / "too").mkdir(parents=True)

    assert listed(tmp_path) == []


def test_a_source_can_be_listed_twice(tmp_path: Path) -> None:
    fill(tmp_path, AWKWARD)
    source = DirectorySource(tmp_path)

    assert list(source) == list(source)


def test_many_files_are_asked_for_at_once_while_a_file_system_makes_the_listing_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{number:03}/{digit}" for number in range(17 * 32 // 2) for digit in "ab"]
    fill(tmp_path, names)
    together, calls = threading.Barrier(16, timeout=PATIENCE), count()

    def wait(paths: Sequence[str]) -> list[FileStatus | OSError]:
        if next(calls):
            together.wait()  # 16 calls must wait together
        else:
            time.sleep(0.2)
        return statuses_of(paths)

    monkeypatch.setattr(directory, "statuses_of", wait)

    assert listed(tmp_path) == sorted(names)


def test_links_are_followed(tmp_path: Path) -> None:
    elsewhere, archive = tmp_path / "elsewhere", tmp_path / "archive"
    fill(elsewhere, ["deep/1", "2"])
    archive.mkdir()
    (archive / "folder").symlink_to(elsewhere)
    (archive / "file").symlink_to(elsewhere / "2")

    assert listed(archive) == ["file", "folder/2", "folder/deep/1"]
    assert all(ref.problem is None for ref in DirectorySource(archive))


def test_the_archive_itself_may_be_a_link(tmp_path: Path) -> None:
    fill(tmp_path / "real", ["1"])
    (tmp_path / "link").symlink_to(tmp_path / "real")

    assert listed(tmp_path / "link") == ["1"]


def test_loops_end(tmp_path: Path) -> None:
    fill(tmp_path, ["a/b/1"])
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "here").symlink_to(".")
    (tmp_path / "root").symlink_to(tmp_path)

    assert listed(tmp_path) == ["a/b/1"]


def test_two_links_to_one_folder_are_no_loop(tmp_path: Path) -> None:
    fill(tmp_path, ["real/1"])
    (tmp_path / "x").symlink_to(tmp_path / "real")

    assert listed(tmp_path) == ["real/1", "x/1"]


@pytest.mark.parametrize("target", ["nowhere", "itself"])
def test_a_broken_link_is_a_problem_of_that_object_alone(target: str, tmp_path: Path) -> None:
    (tmp_path / "itself").symlink_to(target)
    fill(tmp_path, ["z"])

    broken, sound = DirectorySource(tmp_path)

    assert (broken.source, problem(broken)) == ("itself", (Stage.LIST, Reason.READ_ERROR))
    assert problem(sound) is None


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_pipe_or_a_socket_is_not_opened(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    if kind == "pipe":
        os.mkfifo("x")
    else:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("x")

    ref = only(tmp_path)

    assert (problem(ref), ref.size) == ((Stage.LIST, Reason.NOT_DICOM), 0)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "dangling link"])
def test_what_takes_the_place_of_a_file_after_the_listing_is_a_read_error(kind: str, tmp_path: Path) -> None:
    fill(tmp_path, ["x"])
    source, path = DirectorySource(tmp_path), tmp_path / "x"
    (ref,) = source
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "device" else "nowhere")

    with pytest.raises(ItemError) as caught:
        source.open(ref)
    (head,) = source.heads([ref], 100)
    for error in (caught.value, head):
        assert isinstance(error, ItemError)
        assert error.reason == Reason.READ_ERROR
        assert ("has taken the place" in error.message) == (kind != "dangling link")


@pytest.mark.parametrize("name", [b"caf\xe9", b"\xff\xfe", b"\xed\xa0\x80"])
def test_names_that_are_no_unicode_stay_distinct_and_can_be_opened(name: bytes, tmp_path: Path) -> None:
    place = os.path.join(os.fsencode(tmp_path), name)  # noqa: PTH118 - bytes
    with open(place, "wb") as made:  # noqa: PTH123 - bytes
        made.write(b"there")

    ref = only(tmp_path)

    assert ref.source == "".join(chr(byte if byte < 0x80 else 0xF700 + byte) for byte in name)
    ref.source.encode()
    assert ref.source.encode("utf-8")
    with DirectorySource(tmp_path).open(ref) as stream:
        assert stream.read() == b"there"


def test_a_folder_whose_name_is_no_unicode_is_listed(tmp_path: Path) -> None:
    folder = os.path.join(os.fsencode(tmp_path), b"caf\xe9")  # noqa: PTH118 - bytes
    os.mkdir(folder)  # noqa: PTH102 - bytes
    Path(os.fsdecode(folder), "1").write_bytes(b"")

    assert listed(tmp_path) == ["caf\uf7e9/1"]


def test_a_missing_file_affects_no_other(tmp_path: Path) -> None:
    fill(tmp_path, ["a", "b"])
    source = DirectorySource(tmp_path)
    first, second = source
    (tmp_path / first.source).unlink()

    with pytest.raises(ItemError) as caught:
        source.open(first)
    assert caught.value.reason == Reason.READ_ERROR
    with source.open(second) as stream:
        assert stream.read() == b"b"


def test_a_folder_in_place_of_a_file_is_an_error_of_that_object(tmp_path: Path) -> None:
    fill(tmp_path, ["a"])
    source = DirectorySource(tmp_path)
    ref = only(tmp_path)
    (tmp_path / ref.source).unlink()
    (tmp_path / ref.source).mkdir()

    with pytest.raises(ItemError):
        source.open(ref)


def test_an_archive_that_disappears_stops_the_listing(tmp_path: Path) -> None:
    fill(tmp_path / "archive", ["a/1", "b/2"])
    walk = iter(DirectorySource(tmp_path / "archive"))
    next(walk)

    shutil.rmtree(tmp_path / "archive")

    with pytest.raises(SourceError, match="disappeared: mount it again and run the same command"):
        list(walk)


def test_an_archive_that_disappears_before_its_listing_stops_it(tmp_path: Path) -> None:
    fill(tmp_path / "archive", ["a/1"])
    source = DirectorySource(tmp_path / "archive")
    shutil.rmtree(tmp_path / "archive")

    with pytest.raises(SourceError, match="disappeared"):
        list(source)


def test_an_archive_that_disappears_is_not_one_bad_file(tmp_path: Path) -> None:
    fill(tmp_path / "archive", ["1"])
    source = DirectorySource(tmp_path / "archive")
    (ref,) = source
    shutil.rmtree(tmp_path / "archive")

    with pytest.raises(SourceError, match="disappeared"):
        source.open(ref)


@pytest.mark.parametrize("is_file", [True, False])
def test_a_missing_archive_is_a_usage_error(is_file: bool, tmp_path: Path) -> None:
    if is_file:
        (tmp_path / "archive").write_bytes(b"")

    with pytest.raises(UsageError, match="archive"):
        DirectorySource(tmp_path / "archive")


UNPRIVILEGED = """
import json, sys
from pathlib import Path
from bsbatch.errors import BsbatchError
from bsbatch.sources.directory import DirectorySource

listing = []
try:
    source = DirectorySource(Path(sys.argv[1]))
    for ref in source:
        reason = ref.problem.reason if ref.problem else None
        if reason is None:
            try:
                source.open(ref).close()
            except BsbatchError as error:
                reason = "open: " + error.reason
        listing.append([ref.source, reason])
except BsbatchError as error:
    listing = type(error).__name__
print(json.dumps(listing))
"""
CAPABILITIES = "-dac_override,-dac_read_search"


def list_without_privileges(archive: Path) -> Any:
    """List an archive with permissions in force: root obeys them only without its capabilities."""
    drop: list[str] = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root reads everything, and there is no setpriv to take that away")
        drop = ["setpriv", "--bounding-set", CAPABILITIES, "--inh-caps", CAPABILITIES]
    command = [*drop, sys.executable, "-c", UNPRIVILEGED, str(archive)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if drop and done.returncode != 0 and "setpriv" in done.stderr:
        pytest.skip(f"setpriv cannot take the capabilities of root away: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_file_without_permission_affects_no_other(tmp_path: Path) -> None:
    fill(tmp_path, ["a/1", "file", "locked/1", "z"])
    (tmp_path / "file").chmod(0)
    (tmp_path / "locked").chmod(0)

    try:
        found = list_without_privileges(tmp_path)
    finally:
        (tmp_path / "locked").chmod(0o700)

    assert found == [
        ["a/1", None],
        ["file", "open: permission_denied"],
        ["locked/", "permission_denied"],
        ["z", None],
    ]


def test_an_archive_without_permission_is_a_usage_error(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    fill(archive, ["1"])
    archive.chmod(0)

    try:
        assert list_without_privileges(archive) == "UsageError"
    finally:
        archive.chmod(0o700)
