"""Dates and numbers are read where they can be read in one way."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsbatch.cohort.cells import dates_of, typed

DAYS = st.dates(date(1900, 1, 1), date(2100, 1, 1))


@given(st.lists(DAYS), st.sampled_from(["%Y-%m-%d", "%Y%m%d", "%d.%m.%Y", "%Y/%m/%d", "%Y-%m-%d %H:%M:%S"]))
def test_plain_forms_of_dates_are_read(days: list[date], form: str) -> None:
    assert dates_of([f"{day:{form}}" for day in days]) == days


@given(st.lists(DAYS, min_size=1), st.booleans())
def test_dates_with_slashes_are_read_only_if_the_column_shows_their_order(days: list[date], is_day_first: bool) -> None:
    form = "%d/%m/%Y" if is_day_first else "%m/%d/%Y"
    is_shown = any(day.day > 12 for day in days)

    found = dates_of([f"{day:{form}}" for day in days])

    assert found == [day if is_shown or day.day == day.month else None for day in days]


@pytest.mark.parametrize("text", ["", "31.02.2020", "2020-13-01", "1.1.20", "2020111", "yesterday", "13/13/2020"])
def test_what_is_no_date_is_none(text: str) -> None:
    assert dates_of([text]) == [None]


def test_dates_of_both_orders_in_one_column_are_not_guessed() -> None:
    assert dates_of(["13/01/2020", "01/13/2020", "02/03/2020", "2020-05-06"])[2:] == [None, date(2020, 5, 6)]


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["1", "", "-20"], [1, None, -20]),
        (["1", "2.5"], [1.0, 2.5]),
        (["12,5", "0,3", "7", ""], [12.5, 0.3, 7.0, None]),
        (["1,234", "5,678"], ["1,234", "5,678"]),
        (["1,5", "2.5"], ["1,5", "2.5"]),
        (["0815", "4711"], ["0815", "4711"]),
        (["", ""], [None, None]),
        (["<0.1", "3"], ["<0.1", "3"]),
    ],
)
def test_a_column_has_the_type_that_all_of_its_cells_have(texts: list[str], values: list[object]) -> None:
    assert typed(texts).to_pylist() == values


@given(st.lists(st.decimals(-1000, 1000, places=2), min_size=1))
def test_decimals_are_read_with_either_mark(numbers: list[object]) -> None:
    for mark in ".,":
        assert typed([str(number).replace(".", mark) for number in numbers]).to_pylist() == list(
            map(float, map(str, numbers))
        )
