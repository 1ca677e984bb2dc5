from datetime import datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsbatch.errors import UsageError
from bsbatch.pacs.pace import Hours, SteadyPace

MIDNIGHT = datetime(2026, 3, 1)
MINUTES = st.times().map(lambda moment: moment.replace(second=0, microsecond=0))


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self, start: datetime = MIDNIGHT) -> None:
        self.start = self.now = start
        self.sleeps: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += timedelta(seconds=seconds)

    def seconds(self) -> float:
        return (self.now - self.start).total_seconds()

    def pace(self, rate: float | None = None, hours: str | None = None) -> SteadyPace:
        parsed = None if hours is None else Hours.parse(hours)
        return SteadyPace(rate, parsed, sleep=self.sleep, seconds=self.seconds, local_time=lambda: self.now)


@given(MINUTES, MINUTES)
def test_what_hours_print_is_read_as_the_same_hours(begin: time, end: time) -> None:
    hours = Hours(begin, end)
    if begin == end:
        with pytest.raises(UsageError, match="20:00-06:00"):
            Hours.parse(str(hours))
    else:
        assert Hours.parse(f" {hours} ") == hours


@given(st.text() | st.from_regex(r"\d\d?:\d\d?-\d\d?:\d\d?", fullmatch=True))
def test_any_text_is_hours_or_a_usage_error(text: str) -> None:
    try:
        hours = Hours.parse(text)
    except UsageError:
        return
    assert str(hours) == text.strip()


@given(MINUTES, MINUTES, st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)))
def test_hours_begin_within_a_day_and_hold_where_nothing_is_waited_for(begin: time, end: time, now: datetime) -> None:
    hours = Hours(begin, end)
    if begin == end:
        return
    left = hours.seconds_until(now)
    moment = now.time()
    inside = begin <= moment < end if begin < end else moment >= begin or moment < end
    assert (left == 0) == inside
    if not inside:
        assert 0 < left <= 86400
        assert (now + timedelta(seconds=left)).time() == begin


@pytest.mark.parametrize(("now", "left"), [(19, 3600), (20, 0), (23, 0), (3, 0), (6, 14 * 3600)])
def test_hours_run_over_midnight(now: int, left: float) -> None:
    assert Hours.parse("20:00-06:00").seconds_until(MIDNIGHT.replace(hour=now)) == left


def test_without_a_rate_and_hours_nothing_waits() -> None:
    clock = Clock()
    pace = clock.pace()
    for _ in range(9):
        pace.wait(100)
    assert not clock.sleeps


def test_a_rate_spaces_objects_and_not_queries() -> None:
    clock = Clock()
    pace = clock.pace(rate=4)
    for _ in range(10):
        pace.wait(0)
        pace.wait(2)
    assert clock.seconds() == pytest.approx(9 * 2 / 4)


def test_a_pause_is_not_made_up_for() -> None:
    clock = Clock()
    pace = clock.pace(rate=1)
    pace.wait(1)
    clock.now += timedelta(hours=1)
    for _ in range(3):
        pace.wait(1)
    assert clock.sleeps == [1, 1]


def test_outside_its_hours_the_pacs_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock(MIDNIGHT.replace(hour=6))
    pace = clock.pace(hours="20:00-06:00")
    pace.wait(0)
    assert clock.now == MIDNIGHT.replace(hour=20)
    assert max(clock.sleeps) <= 60
    pace.wait(5)
    assert clock.now == MIDNIGHT.replace(hour=20)
    assert [record.getMessage() for record in caplog.records] == ["outside 20:00-06:00: waiting until 20:00"]


def test_hours_hold_after_the_pause_of_a_rate() -> None:
    clock = Clock(MIDNIGHT.replace(hour=5, minute=59))
    pace = clock.pace(rate=1 / 120, hours="20:00-06:00")
    pace.wait(1)
    pace.wait(1)
    assert clock.now == MIDNIGHT.replace(hour=20)


@pytest.mark.parametrize("rate", [0, -1, float("inf"), float("nan")])
def test_a_rate_must_be_a_positive_number(rate: float) -> None:
    with pytest.raises(UsageError, match="objects a second"):
        SteadyPace(rate)


def test_a_connection_is_left_before_hours_are_waited_for_and_not_before_the_pause_of_a_rate() -> None:
    left: list[datetime] = []
    clock = Clock(MIDNIGHT.replace(hour=20))
    pace = clock.pace(rate=1, hours="20:00-06:00")
    for _ in range(3):
        pace.wait(1, lambda: left.append(clock.now))
    assert not left
    clock.now = MIDNIGHT.replace(hour=7)
    pace.wait(0, lambda: left.append(clock.now))
    assert left == [MIDNIGHT.replace(hour=7)]
