"""Without a usable library, bsbatch works in numpy."""

import subprocess
from pathlib import Path

import pytest

from bsbatch.native import library as library_module
from bsbatch.native import view_pairs
from bsbatch.native.build import compile_views
from bsbatch.native.library import open_library, problem_of


def test_a_library_of_this_version_is_loaded(library: Path) -> None:
    assert open_library(library) is not None
    assert problem_of(library) is None


def test_an_absent_library_is_not_loaded(tmp_path: Path) -> None:
    assert open_library(tmp_path / "libviews.so") is None
    assert "without its compiled part" in str(problem_of(tmp_path / "libviews.so"))


@pytest.mark.parametrize("content", [b"", b"no library at all", b"\x7fELF" + bytes(200)])
def test_a_damaged_library_is_not_loaded(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "libviews.so"
    path.write_bytes(content)
    assert open_library(path) is None
    assert "cannot be loaded" in str(problem_of(path))


def test_another_library_of_that_name_is_not_loaded(library: Path, tmp_path: Path) -> None:
    source, path = tmp_path / "other.c", tmp_path / "libother.so"
    source.write_text("int other(void) { return 1; }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", path, source], check=True)
    assert open_library(path) is None
    assert "is another library" in str(problem_of(path))


def test_a_library_of_another_version_is_not_loaded(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_module, "VERSION", library_module.VERSION + 1)
    assert open_library(library) is None
    assert f"of version {library_module.VERSION - 1}, and this bsbatch needs" in str(problem_of(library))


def test_without_a_library_numpy_does_the_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(view_pairs, "open_library", lambda: open_library(tmp_path / "absent"))
    assert view_pairs.pair_functions.__wrapped__() is None


def test_a_failed_compilation_leaves_no_file_and_returns_the_error(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "libviews.so"

    failure = compile_views(target, ["-no-such-option"])
    monkeypatch.setenv("CC", str(tmp_path / "no compiler"))
    absent = compile_views(target)

    assert "no-such-option" in str(failure)
    assert "cannot be run" in str(absent)
    assert not list(tmp_path.iterdir())
