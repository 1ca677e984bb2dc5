"""The first bytes of a file: the same bytes, or the same error, with and without the compiled part."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bsbatch.native import files
from bsbatch.native.files import head_of
from bsbatch.native.library import open_library

DATA = bytes(range(256)) * 40


@pytest.fixture(params=["compiled", "by Python"], autouse=True)
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each kind."""
    path: Path = request.getfixturevalue("library") if request.param == "compiled" else Path("nowhere")
    compiled: Callable[[], object] = files._compiled.__wrapped__
    with monkeypatch.context() as patch:
        patch.setattr(files, "open_library", lambda: open_library(path))
        made = compiled()
    assert (made is None) == (request.param == "by Python")
    monkeypatch.setattr(files, "_compiled", lambda: made)


@pytest.mark.parametrize("count", [1, 8192, len(DATA), len(DATA) + 1])
@pytest.mark.parametrize("name", ["a", "ä", "\udcff", "日本"], ids=["ascii", "latin", "no text", "wide"])
def test_as_many_bytes_are_read_as_there_are(tmp_path: Path, name: str, count: int) -> None:
    path = os.fspath(tmp_path / name)
    with open(path, "wb") as stream:  # noqa: PTH123 - a path that is no text
        stream.write(DATA)

    assert head_of(path, count) == DATA[:count]


def test_an_empty_file_has_no_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert head_of(str(tmp_path / "a"), 10) == b""


def test_an_absent_file_is_told_from_one_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        head_of(str(tmp_path / "absent"), 10)
    with pytest.raises(IsADirectoryError):
        head_of(str(tmp_path), 10)


def test_files_are_closed_again(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(DATA)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        head_of(str(tmp_path / "a"), 10)
    with pytest.raises(IsADirectoryError):
        head_of(str(tmp_path), 10)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
