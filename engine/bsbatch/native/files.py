"""Files of an archive, opened without waiting; their first bytes, read in one call of compiled code or by Python."""

import ctypes
import errno
import os
import stat
import sys
from collections.abc import Callable
from functools import lru_cache

from bsbatch.native.library import open_library

_Read = Callable[[bytes, int, int, ctypes.Array[ctypes.c_char]], int]
"""``bsbatch_read``: path, offset, count and buffer to the number of bytes read, or to a negative error number."""

_PATHS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
"""Encoding and error handler of paths; calling `os.fsencode` for every file is slower."""


def head_of(path: str, count: int) -> bytes:
    """Read the first bytes of a file.

    In Python, opening, reading and closing each release the GIL, and the thread then has to wait for it.

    Parameters
    ----------
    path
        Of a file.
    count
        Number of bytes; fewer are returned if the file is shorter.

    Raises
    ------
    OSError
        It cannot be opened or read, see `open_plain`.
    """
    read = _load_read()
    if read is None:
        return _read(path, count)
    buffer = (ctypes.c_char * count)()
    done = read(path.encode(*_PATHS), 0, count, buffer)
    if done < 0:
        raise OSError(-done, os.strerror(-done))
    return buffer.raw[:done]


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


def _read(path: str, count: int) -> bytes:
    """Read until ``count`` bytes or the end: a file system may return fewer bytes than asked for."""
    file = open_plain(path)
    try:
        data = os.read(file, count)
        while 0 < len(data) < count and (more := os.read(file, count - len(data))):
            data += more
        return data
    finally:
        os.close(file)


@lru_cache(None)
def _load_read() -> _Read | None:
    library = open_library()
    if library is None:
        return None
    read = library.bsbatch_read
    read.argtypes, read.restype = (ctypes.c_char_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p), ctypes.c_int64
    return read
