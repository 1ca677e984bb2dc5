"""The checksum by which compiled code reads the members of zip files in place."""

import ctypes
from functools import lru_cache

from bsbatch.native.library import open_library


@lru_cache(None)
def is_compiled() -> bool:
    """Return True if compiled code computes checksums on this processor."""
    library = open_library()
    return library is not None and not library.bsbatch_checksum(b"", ctypes.c_uint64(), ctypes.byref(ctypes.c_uint32()))
