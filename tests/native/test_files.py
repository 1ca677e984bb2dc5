"""Status and first bytes of a file: the same, or the same error, in compiled code and in Python."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bsbatch.native import files
from bsbatch.native.files import heads_of, statuses_of
from bsbatch.native.library import open_library

DATA = bytes(range(256)) * 40


def head_of(path: str, count: int) -> bytes:
    (head,) = heads_of([path], count)
    if isinstance(head, OSError):
        raise head
    return head


@pytest.fixture(params=["compiled", "by Python"], autouse=True)
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use compiled code, or Python."""
    path: Path = request.getfixturevalue("library") if request.param == "compiled" else Path("nowhere")
    for name in ("_load_read", "_load_find"):
        load: Callable[[], object] = getattr(files, name).__wrapped__
        with monkeypatch.context() as patch:
            patch.setattr(files, "open_library", lambda: open_library(path))
            found = load()
        assert (found is None) == (request.param == "by Python")
        monkeypatch.setattr(files, name, lambda found=found: found)


@pytest.mark.parametrize("count", [1, 8192, len(DATA), len(DATA) + 1])
@pytest.mark.parametrize("name", ["a", "ä", "\udcff", "日本"], ids=["ascii", "latin", "no text", "wide"])
def test_the_bytes_asked_for_are_read_or_all_of_a_shorter_file(tmp_path: Path, name: str, count: int) -> None:
    path = os.fspath(tmp_path / name)
    with open(path, "wb") as stream:  # noqa: PTH123 - a path that is no text
        stream.write(DATA)

    assert head_of(path, count) == DATA[:count]


def test_an_empty_file_has_no_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert head_of(str(tmp_path / "a"), 10) == b""


def test_an_absent_file_and_a_folder_raise_errors_of_their_own(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        head_of(str(tmp_path / "absent"), 10)
    with pytest.raises(IsADirectoryError):
        head_of(str(tmp_path), 10)


@pytest.mark.parametrize("kind", ["pipe", "device", "link to a pipe"])
def test_what_took_the_place_of_a_file_is_an_error_and_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    os.mkfifo(tmp_path / "pipe")
    path.symlink_to({"pipe": "pipe", "device": "/dev/zero", "link to a pipe": "link"}[kind])
    (tmp_path / "link").symlink_to("pipe")

    with pytest.raises(OSError, match="Invalid argument"):
        head_of(str(path), 10)


@pytest.mark.parametrize("seconds", [-10, 0, 1_600_000_000.123456789, 9_500_000_000])
def test_the_status_of_a_file_is_that_of_the_system(tmp_path: Path, seconds: float) -> None:
    """Some times are before 1970, and some after 2262, the last year that 64 bits of nanoseconds hold."""
    (tmp_path / "a").write_bytes(DATA)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("a")
    paths = [os.fspath(tmp_path / name) for name in ("a", "folder", "pipe", "link")] + ["/dev/zero"]
    os.utime(tmp_path / "a", (seconds, seconds))

    found = statuses_of(paths)

    for path, status in zip(paths, found, strict=True):
        assert not isinstance(status, OSError)
        true = os.stat(path)  # noqa: PTH116 - as it is called
        assert status == (true.st_mode, true.st_size, true.st_mtime_ns)


def test_what_has_no_status_is_an_error_and_costs_no_other(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(DATA)
    (tmp_path / "loop").symlink_to("loop")
    names = ["a", "absent", "a/b", "loop", "x" * 300, "a"]

    found = statuses_of([os.fspath(tmp_path / name) for name in names])

    numbers = [status.errno if isinstance(status, OSError) else 0 for status in found]
    assert numbers == [0, errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, 0]
    assert statuses_of([]) == []


def test_files_are_closed_again(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(DATA)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        head_of(str(tmp_path / "a"), 10)
    with pytest.raises(IsADirectoryError):
        head_of(str(tmp_path), 10)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
