"""CSV files that spreadsheets open without computing anything: no cell of ours is read as a formula."""

import csv
from collections.abc import Iterable
from typing import TextIO

_FORMULA = tuple("=+-@\t\r")
"""A spreadsheet takes a text that begins with one of these for a formula."""
_QUOTE = "'"


def write_csv(stream: TextIO, rows: Iterable[Iterable[object]]) -> None:
    """Write rows, the header among them, separated by commas. A text that looks like a formula gets an apostrophe.

    Parameters
    ----------
    stream
        A text file opened with ``newline=""``.
    rows
        Texts and numbers; None is an empty cell.
    """
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([_protect(cell) for cell in row] for row in rows)


def unprotect(text: str) -> str:
    """Return the text of a cell without the apostrophe of `write_csv`."""
    return text[1:] if text.startswith(_QUOTE) and text[1:].startswith(_FORMULA) else text


def _protect(cell: object) -> object:
    """Protect a text; a carriage return in it, which Python would not quote, becomes a space and starts no new row."""
    if not isinstance(cell, str):
        return cell
    return (f"{_QUOTE}{cell}" if cell.startswith(_FORMULA) else cell).replace("\r", " ")
