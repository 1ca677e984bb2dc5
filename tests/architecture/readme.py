"""Run the commands of the README."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def commands_of(block: str) -> list[list[str]]:
    """The commands of the README's code block behind a comment."""
    text = README.split(f"<!-- {block} -->")[1].split("```")[1].removeprefix("sh\n").replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in text.splitlines() if line.strip()]


def run_all(commands: list[list[str]], folder: Path, cache: Path) -> None:
    for command in commands:
        script = Path(sys.executable).parent / command[0]
        environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
        done = subprocess.run(
            [script, *command[1:]], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode in {0, 3}, done.stderr
