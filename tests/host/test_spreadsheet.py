import csv
import io

import pytest

from bsbatch.host.spreadsheet import unprotect, write_csv

FORMULAS = ["=cmd|' /C calc'!A0", "+1", "-1", "@x", "\t=1", "\r=1"]


def cells_of(*cells: object) -> list[str]:
    stream = io.StringIO(newline="")
    write_csv(stream, [cells])
    (row,) = csv.reader(io.StringIO(stream.getvalue(), newline=""))
    return row


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_that_a_spreadsheet_would_compute_gets_an_apostrophe(text: str) -> None:
    assert cells_of(text) == [f"'{text}".replace("\r", " ")]
    assert unprotect(f"'{text}") == text


@pytest.mark.parametrize("text", ["1.2.3", "", "a=b", "'quoted'", " =1", 'a "quote", a comma\nand a line'])
def test_other_texts_stay(text: str) -> None:
    assert cells_of(text) == [text]
    assert unprotect(text) == text


def test_a_carriage_return_starts_no_row() -> None:
    assert cells_of("a\r=1", "b") == ["a =1", "b"]


def test_numbers_stay_numbers() -> None:
    assert cells_of(-0.5, -1, None) == ["-0.5", "-1", ""]
