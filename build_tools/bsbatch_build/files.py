"""Writes text and JSON files whole or not at all."""

import json
from pathlib import Path

from bsbatch.errors import OutputError
from bsbatch.host.files import replace_text


def write_text(path: Path, text: str) -> None:
    """Write a file beside its final name, then rename it over an older one.

    Raises
    ------
    OutputError
        The folder does not exist or cannot be written to.
    """
    try:
        replace_text(path, text)
    except OSError as error:
        raise OutputError.of(path, error) from error


def write_json(path: Path, content: object) -> None:
    """Write plain values as JSON, in the manner of `write_text`; use None in place of NaN."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
