"""Whatever lies where the compiled part should be, bsbatch works."""

import subprocess
from pathlib import Path

import pytest

from bsbatch.native import library as room
from bsbatch.native import view_pairs
from bsbatch.native.build import compile_views
from bsbatch.native.library import open_library


def test_a_library_of_this_version_is_opened(library: Path) -> None:
    assert open_library(library) is not None


def test_an_absent_library_is_none(tmp_path: Path) -> None:
    assert open_library(tmp_path / "libviews.so") is None


@pytest.mark.parametrize("content", [b"", b"no library at all", b"\x7fELF" + bytes(200)])
def test_a_damaged_library_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "libviews.so"
    path.write_bytes(content)
    assert open_library(path) is None


def test_a_library_of_something_else_is_none(library: Path, tmp_path: Path) -> None:
    source, path = tmp_path / "other.c", tmp_path / "libother.so"
    source.write_text("int other(void) { return 1; }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", path, source], check=True)
    assert open_library(path) is None


def test_a_library_of_another_version_is_none(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "VERSION", room.VERSION + 1)
    assert open_library(library) is None


def test_without_a_library_numpy_does_the_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(view_pairs, "open_library", lambda: open_library(tmp_path / "absent"))
    assert view_pairs.compiled.__wrapped__() is None


def test_a_compiler_that_fails_leaves_nothing_and_says_why(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "libviews.so"

    said = compile_views(target, ["-no-such-option"])
    monkeypatch.setenv("CC", str(tmp_path / "no compiler"))
    absent = compile_views(target)

    assert "no-such-option" in str(said)
    assert "cannot be run" in str(absent)
    assert not list(tmp_path.iterdir())
