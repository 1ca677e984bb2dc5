"""Compiles the C sources of this folder, for tests and for the build hook.

The build hook ``hatch_build.py`` loads this file alone, so it imports nothing of bsbatch.
"""

import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

_FOLDER = Path(__file__).parent
_SAME_BITS = ("-fno-math-errno", "-ffp-contract=off")
"""Square roots without a function call; no fused multiplication and addition, as in numpy."""
_ALIGNED = ("-falign-functions=64", "-falign-loops=32")
"""The speed of short loops depends on where they lie: up to 8 % of the measurement, by chance."""
SOURCES: dict[Path, tuple[str, ...]] = {
    _FOLDER / "view_pairs.c": _SAME_BITS + _ALIGNED,
    _FOLDER / "position.c": _SAME_BITS,
    _FOLDER / "files.c": (),
    _FOLDER / "checksum.c": (),
    _FOLDER / "pixel_hash.c": (),
    _FOLDER / "winograd.c": ("-ffp-contract=fast",),
}
"""Source file -> compiler options of its own."""
_OPTIONS = ("-std=c11", "-O3", "-fPIC", "-fvisibility=hidden")


def compile_views(target: Path, options: Sequence[str] = ()) -> str | None:
    """Compile the shared library with ``$CC`` or ``cc``.

    It is written under another name and renamed, because another process may be using an older one.

    Parameters
    ----------
    target
        Path of the library.
    options
        Further options for the compiler.

    Returns
    -------
    None, or the error message if it cannot be compiled.
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
