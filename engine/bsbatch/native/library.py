"""The compiled part as it lies on the disk: optional, so whatever is wrong with it, it is just not there."""

import ctypes
from pathlib import Path

LIBRARY = Path(__file__).with_name("libviews.so")
VERSION = 3
"""Of the functions and records in ``native.h``; a library of another one is left alone."""


def open_library(path: Path = LIBRARY) -> ctypes.CDLL | None:
    """Load a library; None where there is none that this version of bsbatch can use."""
    try:
        library = ctypes.CDLL(str(path))
        version = int(library.bsbatch_views_version())
    except (OSError, AttributeError):  # absent, of another system, damaged; or something else by that name
        return None
    return library if version == VERSION else None
