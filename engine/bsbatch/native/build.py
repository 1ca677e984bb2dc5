"""Compiles the C sources here: for the build hook ``hatch_build.py``, which reads this file alone, and for tests."""

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

SOURCES = tuple(Path(__file__).with_name(name) for name in ("views.c", "files.c"))
_OPTIONS = ("-std=c11", "-O3", "-fPIC", "-shared", "-fvisibility=hidden")
_SAME_BITS = ("-fno-math-errno", "-ffp-contract=off")
"""Square roots without a call, and no multiplication fused with an addition, which numpy does not do either."""


def compile_views(target: Path, options: Sequence[str] = ()) -> str | None:
    """Make a shared library with ``$CC`` or ``cc``, aside and then renamed: another process may be using the old one.

    Parameters
    ----------
    target
        The library.
    options
        More of them for the compiler.

    Returns
    -------
    Why there is none; None where there is one now.
    """
    aside = target.with_name(f"{target.name}.{os.getpid()}")
    compiler = shlex.split(os.environ.get("CC") or "cc")
    command = [*compiler, *_OPTIONS, *_SAME_BITS, *options, "-o", str(aside), *map(str, SOURCES), "-lm"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode == 0:
            aside.replace(target)
        else:
            aside.unlink(missing_ok=True)
    except OSError as error:
        return f"{compiler[0]} cannot be run: {error.strerror}"
    return None if done.returncode == 0 else f"{compiler[0]} failed: {done.stderr.strip()}"
