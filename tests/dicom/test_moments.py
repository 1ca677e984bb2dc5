"""Dates and times of acquisitions as numbers."""

from datetime import date

import pytest
from tests.dicom.objects import header

from bsbatch.dicom.moments import (
    acquisition,
    are_of_other_days,
    day_of,
    gap_between,
    have_other_content_dates,
    seconds_of,
)
from bsbatch.records import Header


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("101502.5", 36902.5),
        ("101502", 36902.0),
        ("1015", 36900.0),
        ("10", 36000.0),
        ("10:15:02.5", 36902.5),
        (" 101502 ", 36902.0),
        ("000001", 1.0),
        ("000100", 60.0),
        ("235959.999", 86399.999),
        ("000000", None),
        ("1", None),
        ("10150", None),
        ("101502.5x", None),
        ("", None),
        (None, None),
    ],
)
def test_a_time_is_seconds_since_midnight(text: str | None, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["20200229", "2020.02.29", "2020-02-29", "2020/02/29", " 20200229 "])
def test_a_date_is_a_day(text: str) -> None:
    assert day_of(text) == date(2020, 2, 29).toordinal()


@pytest.mark.parametrize("text", [None, "", "20200230", "20201301", "2020.0229", "2020.02-29", "2020", "00000101"])
def test_anything_else_is_no_day(text: str | None) -> None:
    assert day_of(text) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (("20200102", "101500", None), ("20200102", "101500")),
        (("20200102", "101500", "20200203111111"), ("20200102", "101500")),
        ((None, None, "20200203111111.5+0100"), ("20200203", "111111.5")),
        ((None, None, "20200203111111-0500"), ("20200203", "111111")),
        ((None, "101500", "20200203"), ("20200203", "101500")),
        ((None, None, "20200203"), ("20200203", None)),
        ((None, None, ""), (None, None)),
        ((None, None, None), (None, None)),
    ],
)
def test_absent_dates_and_times_come_from_the_moment(
    values: tuple[str | None, str | None, str | None], expected: tuple[str | None, str | None]
) -> None:
    assert acquisition(*values) == expected


def stamped(
    day: str | None = None, time: str | None = None, moment: str | None = None, content: str | None = None
) -> Header:
    return header(acquisition_date=day, acquisition_time=time, acquisition_datetime=moment, content_date=content)


@pytest.mark.parametrize(
    ("one", "other", "gap"),
    [
        (("20200102", "101500"), ("20200102", "101530"), 30.0),
        (("20200102", "235959"), ("20200103", "000001"), 2.0),
        (("20200103", "000001"), ("20200102", "235959"), 2.0),
        (("20200102", "101500"), ("20200104", "101500"), 2 * 86400.0),
        ((None, "101500"), ("20200104", "101600"), 60.0),
        (("20200104", "101600"), (None, "101500"), 60.0),
        (("20200102", None), ("20200102", "101500"), None),
        (("20200102", "101500"), ("20200102", None), None),
        (("20200102", "101500", "20200102101500"), ("20200102", "101500", "20200102101700"), 120.0),
        (("20200102", "101500", "20200102101500"), ("20200102", "101900", "20200102101700"), 240.0),
        ((None, None, "20200102101500"), (None, None, "20200102101510"), 10.0),
    ],
)
def test_the_gap_between_two_starts_is_the_larger_one_of_both_sources(
    one: tuple[str | None, ...], other: tuple[str | None, ...], gap: float | None
) -> None:
    assert gap_between(stamped(*one), stamped(*other)) == gap


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        (("20200102", None), ("20200103", None), True),
        (("20200102", None), ("2020.01.02", None), False),
        (("20200102", None), (None, None), False),
        ((None, None), ("20200102", None), False),
        ((None, None, "20200102"), (None, None, "20200103"), True),
        (("20200102", None, "20200102"), ("20200102", None, "20200103"), True),
        (("20200102", None, "20200102"), ("20200102", None, "20200102"), False),
    ],
)
def test_days_differ_where_both_objects_have_one(
    one: tuple[str | None, ...], other: tuple[str | None, ...], differ: bool
) -> None:
    assert are_of_other_days(stamped(*one), stamped(*other)) is differ


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [("20200102", "20200103", True), ("20200102", "20200102", False), (None, "20200102", False), (None, None, False)],
)
def test_content_dates_differ_where_both_objects_have_one(one: str | None, other: str | None, differ: bool) -> None:
    assert have_other_content_dates(stamped(content=one), stamped(content=other)) is differ
