"""The first bytes of a file: the same bytes or the same error, in compiled code and in Python."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bsbatch.native import files
from bsbatch.native.files import heads_of
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
    load: Callable[[], object] = files._load_read.__wrapped__
    with monkeypatch.context() as patch:
        patch.setattr(files, "open_library", lambda: open_library(path))
        read = load()
    assert (read is None) == (request.param == "by Python")
    monkeypatch.setattr(files, "_load_read", lambda: read)


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


def test_files_are_closed_again(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(DATA)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        head_of(str(tmp_path / "a"), 10)
    with pytest.raises(IsADirectoryError):
        head_of(str(tmp_path), 10)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
