"""Files that must be whole, written aside and renamed; and the folder for what can be made again."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/bsbatch``, or ``~/.cache/bsbatch`` where that is not set; it need not exist.

    Source: XDG Base Directory Specification 0.8, by which a relative path counts as none.

    Raises
    ------
    OSError
        This user has no home.
    """
    told = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if told.is_absolute():
        return told / "bsbatch"
    try:
        return Path.home() / ".cache" / "bsbatch"
    except RuntimeError as error:
        raise OSError("there is no home folder: set XDG_CACHE_HOME") from error


def put_in_place(aside: Path, path: Path) -> None:
    """Rename a finished file so that it survives a power cut; both lie in one folder.

    Raises
    ------
    OSError
        The folder cannot be written to.
    """
    flush(aside)
    aside.replace(path)
    flush(path.parent)


def replace_text(path: Path, text: str) -> None:
    """Write a text file, wholly or not at all.

    Raises
    ------
    OSError
        The folder cannot be written to.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(text, encoding="utf-8")
        put_in_place(aside, path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Be the only one who changes a folder, after waiting for who does; leaves no file, and ends with its process.

    Raises
    ------
    OSError
        The folder is not there, or its file system has no locks.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        flock(descriptor, LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def flush(path: Path) -> None:
    """Have a file, or what a folder lists, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
