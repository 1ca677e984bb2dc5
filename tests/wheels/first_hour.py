"""The first hour with an installed bsbatch: the demo, the examples of the pages and the notebooks; a command.

``python -m tests.wheels.first_hour``, by the Python of a clean environment with the wheel, its extras, and jupyter's
``nbclient`` and ``ipykernel``. The source of bsbatch is not on its path.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.api.examples import run_examples

import bsbatch
from bsbatch.native.library import problem_of

_ROOT = Path(__file__).parents[2]
_SCRIPTS = Path(sys.prefix, "bin")


def main() -> None:
    if not Path(bsbatch.__file__).is_relative_to(sys.prefix):
        sys.exit(f"{bsbatch.__file__} is not installed: use the Python of a clean environment")
    if problem := problem_of():
        sys.exit(problem)
    os.environ["PATH"] = f"{_SCRIPTS}{os.pathsep}{os.environ['PATH']}"
    with TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = str(Path(folder, "cache"))
        os.chdir(folder)
        _run("bsbatch", "demo", "--out", "demo")
        _report("bsbatch demo")
        _report(f"{run_examples()} examples of Python in README and docs/python.md")
        for notebook in sorted(_ROOT.glob("docs/**/*.ipynb")):
            room = Path(folder, notebook.stem)
            room.mkdir()
            _run("jupyter", "execute", str(shutil.copy(notebook, room)), cwd=room)
            _report(str(notebook.relative_to(_ROOT)))


def _run(*command: str, cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def _report(part: str) -> None:
    print(f"Python {sys.version.split()[0]}: {part}: done", flush=True)


if __name__ == "__main__":
    main()
