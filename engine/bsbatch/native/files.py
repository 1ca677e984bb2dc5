"""The first bytes of a file: opened, read and closed in one call where there is a compiled part."""

import ctypes
import os
import sys
from functools import lru_cache
from typing import Any

from bsbatch.native.library import open_library

_PATHS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
"""How a path is encoded; `os.fsencode` takes several calls of the interpreter, for every file."""


def head_of(path: str, count: int) -> bytes:
    """Read the first bytes of a file.

    Python lets go of its lock for each of three system calls, and whoever comes back waits for it.

    Parameters
    ----------
    path
        Of a file.
    count
        Bytes, or as many as it has.

    Raises
    ------
    OSError
        It cannot be opened or read.
    """
    read = _compiled()
    if read is None:
        return _read(path, count)
    buffer = (ctypes.c_char * count)()
    done: int = read(path.encode(*_PATHS), 0, count, buffer)
    if done < 0:
        raise OSError(-done, os.strerror(-done))
    return buffer.raw[:done]


def _read(path: str, count: int) -> bytes:
    """A file system may give less than it holds."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(file, count)
        while 0 < len(data) < count and (more := os.read(file, count - len(data))):
            data += more
        return data
    finally:
        os.close(file)


@lru_cache(None)
def _compiled() -> Any:
    library = open_library()
    if library is None:
        return None
    read = library.bsbatch_read
    read.argtypes, read.restype = (ctypes.c_char_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p), ctypes.c_int64
    return read
