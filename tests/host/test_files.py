import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bsbatch.host import files
from bsbatch.host.files import cache_folder, lock_folder, read_plain, replace_file, replace_text


def test_the_cache_is_in_xdg_cache_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "bsbatch"


@pytest.mark.parametrize("configured", ["", "relative/path"])
def test_a_relative_cache_folder_is_ignored(configured: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", configured)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache/bsbatch"


def test_without_a_home_folder_the_error_says_which_variable_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")

    def homeless() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(OSError, match="XDG_CACHE_HOME"):
        cache_folder()


def test_a_text_replaces_another_and_leaves_nothing_aside(tmp_path: Path) -> None:
    for text in ("long before", "after"):
        replace_text(tmp_path / "file", text)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "after")]


def test_a_text_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    replace_text(tmp_path / "file", "before")
    with pytest.raises(UnicodeEncodeError):
        replace_text(tmp_path / "file", "after \ud800")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "before")]


def test_a_file_is_complete_when_it_gets_its_name(tmp_path: Path) -> None:
    with replace_file(tmp_path / "file") as aside:
        aside.write_text("content")
        assert [path.name for path in tmp_path.iterdir()] == [".file.partial"]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_error_removes_the_unfinished_file_and_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("before")

    def fail() -> None:
        with replace_file(tmp_path / "file") as aside:
            aside.write_text("half")
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - it has no message
        fail()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "before")]


def test_a_leftover_of_a_killed_process_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".file.partial").write_text("much longer than the content")
    with replace_file(tmp_path / "file") as aside:
        aside.write_text("content")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "content")]


def test_file_and_folder_are_flushed_around_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[tuple[str, bool]] = []
    monkeypatch.setattr(files, "flush", lambda path: flushed.append((path.name, (tmp_path / "file").exists())))
    with replace_file(tmp_path / "file") as aside:
        aside.write_text("content")
    assert flushed == [(".file.partial", False), (tmp_path.name, True)]


def test_a_folder_lock_is_exclusive_and_writes_no_file(tmp_path: Path) -> None:
    entered: list[str] = []

    def enter() -> None:
        with lock_folder(tmp_path):
            entered.append("second")

    second = threading.Thread(target=enter)
    with lock_folder(tmp_path):
        second.start()
        second.join(0.3)
        entered.append("first")
    second.join()
    assert entered == ["first", "second"]
    assert not list(tmp_path.iterdir())


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    script = (
        "import os, sys; from bsbatch.host.files import lock_folder; lock_folder(sys.argv[1]).__enter__(); os._exit(7)"
    )
    assert subprocess.run([sys.executable, "-c", script, tmp_path], check=False).returncode == 7
    with lock_folder(tmp_path):
        pass


def test_only_a_folder_can_be_locked(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError), lock_folder(tmp_path / "file"):
        pass


def test_a_file_of_more_bytes_than_expected_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_plain(tmp_path / "file", 5) == b"12345"
    with pytest.raises(OSError, match="longer than 4 bytes"):
        read_plain(tmp_path / "file", 4)


def test_a_pipe_that_comes_between_looking_and_opening_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.touch()
    plain = path.stat()
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(Path, "stat", lambda _path: plain)
    before = len(list(Path("/proc/self/fd").iterdir()))

    with pytest.raises(OSError, match="file"):
        read_plain(path, 4)

    assert len(list(Path("/proc/self/fd").iterdir())) == before
