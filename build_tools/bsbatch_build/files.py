"""Files that stand whole or not at all."""

import json
from pathlib import Path
from typing import Any

from bsbatch.errors import OutputError
from bsbatch.host.files import replace_text


def write_text(path: Path, text: str) -> None:
    """Write a file aside and put it in the place of the one that is there.

    Raises
    ------
    OutputError
        The folder is not there, or cannot be written to.
    """
    try:
        replace_text(path, text)
    except OSError as error:
        raise OutputError.of(path, error) from error


def write_json(path: Path, content: Any) -> None:
    """Write plain values as JSON, as `write_text` does; what is not a number must be None."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
