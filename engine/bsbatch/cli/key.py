"""``bsbatch key``: make a key for pseudonyms."""

from pathlib import Path
from typing import Annotated

import typer

from bsbatch.cli.terminal import Terminal, printable


def key(file: Annotated[Path, typer.Argument(help="New file.", show_default=False)]) -> None:
    """Make a random key for bsbatch run --pseudonymise. An existing file is never replaced.

    Keep it where the archive is kept. With it, guesses at UIDs and paths can be tested. Without it, no later run can go
    on. Exit codes: 0 done, 2 usage (the file exists or cannot be written).
    """
    from bsbatch.pseudonyms import make_key

    make_key(file)
    words = f"Key: {printable(str(file))}. Use it with bsbatch run --pseudonymise, and keep it."
    Terminal().print(words, highlight=False, markup=False, soft_wrap=True)
