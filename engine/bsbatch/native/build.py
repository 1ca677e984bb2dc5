"""Compiles the C sources here: for the build hook ``hatch_build.py``, which reads this file alone, and for tests."""

import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

_ROOM = Path(__file__).parent
_SAME_BITS = ("-fno-math-errno", "-ffp-contract=off")
"""Square roots without a call, and no multiplication fused with an addition, which numpy does not do either."""
SOURCES: dict[Path, tuple[str, ...]] = {
    _ROOM / "view_pairs.c": _SAME_BITS,
    _ROOM / "files.c": (),
    _ROOM / "winograd.c": ("-ffp-contract=fast",),
}
"""And the options of each."""
_OPTIONS = ("-std=c11", "-O3", "-fPIC", "-fvisibility=hidden")


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
    with tempfile.TemporaryDirectory() as folder:
        objects = [(source, Path(folder) / f"{source.stem}.o", own) for source, own in SOURCES.items()]
        commands: list[list[str | Path]] = [
            ["-c", *_OPTIONS, *own, *options, "-o", made, source] for source, made, own in objects
        ]
        commands.append(["-shared", *options, "-o", aside, *(made for _, made, _ in objects), "-lm"])
        try:
            for command in commands:
                subprocess.run([*compiler, *command], capture_output=True, text=True, errors="replace", check=True)
            aside.replace(target)
        except OSError as error:
            return f"{compiler[0]} cannot be run: {error.strerror}"
        except subprocess.CalledProcessError as error:
            aside.unlink(missing_ok=True)
            return f"{compiler[0]} failed: {error.stderr.strip()}"
    return None


def _run(command: Sequence[str | Path]) -> None:
    subprocess.run(command, capture_output=True, text=True, errors="replace", check=True)
