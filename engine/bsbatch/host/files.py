"""Files that are written whole or not at all, locks on folders, and the cache folder."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from io import BufferedReader
from pathlib import Path

from bsbatch.errors import UsageError


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/bsbatch``, or ``~/.cache/bsbatch`` if that variable is not set. The folder need not exist.

    Source: XDG Base Directory Specification 0.8, which ignores a relative path.

    Raises
    ------
    OSError
        This user has no home folder.
    """
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if configured.is_absolute():
        return configured / "bsbatch"
    try:
        return Path.home() / ".cache" / "bsbatch"
    except RuntimeError as error:
        raise OSError("there is no home folder: set XDG_CACHE_HOME") from error


@contextmanager
def replace_file(path: Path, aside: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path to write to, then rename it to ``path``: the file is written whole or not at all.

    The file and its folder are flushed to the disk, so it survives a power cut. An error removes the temporary file; a
    killed process leaves it behind, and the next write to the same path overwrites it.

    Parameters
    ----------
    path
        The file to create or replace.
    aside
        The temporary file, in the same folder; ``.{name}.partial`` by default. Two processes must not share it.

    Raises
    ------
    OSError
        The folder cannot be written to.
    """
    aside = path.with_name(f".{path.name}.partial") if aside is None else aside
    try:
        yield aside
        flush(aside)
        aside.replace(path)
        flush(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def move_folder(aside: Path, folder: Path) -> None:
    """Rename a folder whose files are on the disk; the new name is flushed, too.

    Raises
    ------
    OSError
        There is a folder of that name, and it is not empty, or it cannot be written to.
    """
    flush(aside)
    aside.replace(folder)
    flush(folder.parent)


def refuse_file(folder: Path) -> None:
    """Refuse a file in the place of an output folder.

    Raises
    ------
    UsageError
        There is a file, pipe or device of that name.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: --out names a folder")


def replace_text(path: Path, text: str) -> None:
    """Write a text file whole, in UTF-8. Several processes may write the same file; the last one wins.

    Raises
    ------
    OSError
        The folder cannot be written to.
    """
    with replace_file(path, path.with_name(f".{path.name}.{os.getpid()}")) as aside:
        aside.write_text(text, encoding="utf-8")


def open_plain(path: Path) -> BufferedReader:
    """Open a file to read it. Waits for nothing: a pipe without a writer would block, a device might never end.

    Raises
    ------
    OSError
        It cannot be read, or is a folder, pipe, socket or device.
    """
    _require_plain(path, path.stat())
    stream = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")
    try:
        _require_plain(path, os.fstat(stream.fileno()))  # it may have been exchanged
    except OSError:
        stream.close()
        raise
    return stream


def read_plain(path: Path, most: int) -> bytes:
    """Read a whole file, see `open_plain`, of at most ``most`` bytes.

    Raises
    ------
    OSError
        It cannot be read, is no plain file, or is longer.
    """
    with open_plain(path) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"longer than {most} bytes", path)
    return content


def _require_plain(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a plain file", path)


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on a folder. Blocks until it is free; released when the process exits. Writes no file.

    Raises
    ------
    OSError
        The folder does not exist, or its file system has no locks.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        flock(descriptor, LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def flush(path: Path) -> None:
    """Flush a file's content, or a folder's list of files, to the disk (fsync)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
