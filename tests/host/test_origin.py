"""The place of an error is a line of our own code, also after the error has crossed the border of a process."""

from pathlib import Path

import pytest

from bsbatch.host.files import open_plain
from bsbatch.host.origin import describe, note_place, place_of


def error_of_ours() -> OSError:
    with pytest.raises(OSError, match="not a plain file") as caught:
        open_plain(Path("/"))
    return caught.value


def test_an_error_is_described_by_its_type_and_the_innermost_line_of_ours() -> None:
    lines = open_plain.__globals__["__file__"]
    found = describe(error_of_ours())
    number = int(found.removeprefix("OSError at host.files:"))
    assert Path(lines).read_text().splitlines()[number - 1].strip().startswith("raise OSError")


def test_a_noted_place_outlives_the_traceback_and_other_notes_are_none() -> None:
    error = error_of_ours()
    before = place_of(error)
    error.add_note("a hint of a library")
    note_place(error)
    assert place_of(error.with_traceback(None)) == before


def test_an_error_from_nowhere_has_no_line() -> None:
    assert describe(ValueError("a secret")) == "ValueError at an unknown line"
    assert describe(UndocumentedError()) == f"{__name__}.UndocumentedError at an unknown line"


class UndocumentedError(Exception):
    pass
