"""Files of an archive, opened without waiting; status and first bytes of many, in one call of compiled code."""

import ctypes
import errno
import os
import stat
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from bsbatch.native.library import open_library

_Read = Callable[[Any, int, int, Any, Any], None]
"""``bsbatch_read``: paths, their number, bytes of each, and buffers for the bytes and for their numbers or errors."""

_Find = Callable[[Any, int, Any], None]
"""``bsbatch_status``: paths, their number, and a buffer for four numbers of each."""

PATHS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
"""Encoding and error handler of paths; calling `os.fsencode` for every file is slower."""
_NUMBERS, _IN_A_SECOND = 4, 10**9
"""Numbers of a file's status, and nanoseconds in a second."""


class FileStatus(NamedTuple):
    """What a listing needs of `os.stat_result`, under its names."""

    st_mode: int
    st_size: int
    st_mtime_ns: int


def statuses_of(paths: Sequence[str]) -> list[FileStatus | OSError]:
    """Return the status of files, links followed, in one call of compiled code; an error of one takes its place."""
    find = _load_find()
    if find is None:
        return [_find(path) for path in paths]
    found = np.empty((len(paths), _NUMBERS), np.int64)
    find(_pack(paths), len(paths), found.ctypes.data)
    return [
        FileStatus(mode, size, seconds * _IN_A_SECOND + rest) if mode >= 0 else OSError(-mode, os.strerror(-mode))
        for mode, size, seconds, rest in found.tolist()
    ]


def heads_of(paths: Sequence[str], count: int) -> list[bytes | OSError]:
    """Read the first bytes of files in one call of compiled code; an error of one file takes its place.

    In Python, opening, reading and closing each release the GIL, and the thread then has to wait for it.

    Parameters
    ----------
    paths
        Of files, see `open_plain`.
    count
        Number of bytes of each; fewer are returned if a file is shorter.
    """
    read = _load_read()
    if read is None:
        return [_read(path, count) for path in paths]
    number = len(paths)
    buffer, done = np.empty(number * count, np.uint8), (ctypes.c_int64 * number)()
    read(_pack(paths), number, count, buffer.ctypes.data, done)
    found, starts = buffer.data, range(0, number * count, count)
    return [
        bytes(found[start : start + size]) if size >= 0 else OSError(-size, os.strerror(-size))
        for start, size in zip(starts, done, strict=True)
    ]


def open_plain(path: str) -> int:
    """Open a file to read it; return its descriptor. Waits for nothing, as compiled code does.

    Raises
    ------
    OSError
        It cannot be opened; EISDIR or EINVAL if a folder, or a pipe, socket or device, has replaced the file.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    mode = os.fstat(file).st_mode
    if stat.S_ISREG(mode):
        return file
    os.close(file)
    number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
    raise OSError(number, os.strerror(number))


def _pack(paths: Sequence[str]) -> "ctypes.Array[ctypes.c_char_p]":
    return (ctypes.c_char_p * len(paths))(*[path.encode(*PATHS) for path in paths])


def _find(path: str) -> FileStatus | OSError:
    try:
        status = os.stat(path)  # noqa: PTH116 - the caller works on strings
    except OSError as error:
        return error
    return FileStatus(status.st_mode, status.st_size, status.st_mtime_ns)


def _read(path: str, count: int) -> bytes | OSError:
    """Read until ``count`` bytes or the end: a file system may return fewer bytes than asked for."""
    try:
        file = open_plain(path)
    except OSError as error:
        return error
    try:
        data = os.read(file, count)
        while 0 < len(data) < count and (more := os.read(file, count - len(data))):
            data += more
        return data
    except OSError as error:
        return error
    finally:
        os.close(file)


@lru_cache(None)
def _load_read() -> _Read | None:
    pointer = ctypes.c_void_p
    read: _Read | None = _load("bsbatch_read", pointer, ctypes.c_uint64, ctypes.c_int64, pointer, pointer)
    return read


@lru_cache(None)
def _load_find() -> _Find | None:
    find: _Find | None = _load("bsbatch_status", ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p)
    return find


def _load(name: str, *arguments: Any) -> Any:
    """Return a function of the installed library that has no result; None without the library."""
    library = open_library()
    if library is None:
        return None
    function = library[name]
    function.argtypes, function.restype = arguments, None
    return function
