"""Loads the optional compiled library; one that cannot be used is ignored."""

import ctypes
from pathlib import Path

LIBRARY = Path(__file__).with_name("libviews.so")
VERSION = 6
"""Version of the functions and structs in ``native.h``; a library of another version is not used."""


def open_library(path: Path = LIBRARY) -> ctypes.CDLL | None:
    """Load the library; return None if this version of bsbatch cannot use it."""
    try:
        library = ctypes.CDLL(str(path))
        version = int(library.bsbatch_views_version())
    except (OSError, AttributeError):  # absent, for another system, damaged, or another library of that name
        return None
    return library if version == VERSION else None
