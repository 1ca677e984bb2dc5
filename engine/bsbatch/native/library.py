"""Loads the optional compiled library; one that cannot be used is ignored, and `problem_of` says why."""

import ctypes
from pathlib import Path

LIBRARY = Path(__file__).with_name("libviews.so")
VERSION = 11
"""Version of the functions and structs in ``native.h``; a library of another version is not used."""
INSTALL = "install a wheel for this machine, or a C compiler and then pip install --force-reinstall --no-deps bsbatch"


def open_library(path: Path = LIBRARY) -> ctypes.CDLL | None:
    """Load the library; return None if this version of bsbatch cannot use it."""
    found = _load(path)
    return None if isinstance(found, str) else found


def problem_of(path: Path = LIBRARY) -> str | None:
    """Return a message with advice if this version of bsbatch cannot use the library, else None."""
    found = _load(path)
    return f"{found}: {INSTALL}" if isinstance(found, str) else None


def _load(path: Path) -> ctypes.CDLL | str:
    """Load the library, or return the reason why it cannot be used."""
    if not path.exists():
        return "bsbatch was installed without its compiled part"
    try:
        library = ctypes.CDLL(str(path))
        version = int(library.bsbatch_views_version())
    except OSError as error:  # for another system, or damaged
        return f"the compiled part cannot be loaded ({error})"
    except AttributeError:
        return f"{path} is another library"
    return library if version == VERSION else f"{path} is of version {version}, and this bsbatch needs {VERSION}"
