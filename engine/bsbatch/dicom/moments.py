"""Dates and times of acquisitions as numbers, PS3.5 section 6.2, in the forms of older standards, too."""

import re
from datetime import date
from functools import lru_cache

from bsbatch.records import Header

DAY = 86400.0
_DATE = re.compile(r"(\d{4})([./-]?)(\d{2})\2(\d{2})")
_TIME = re.compile(r"(\d{2}):?(?:(\d{2}):?(?:(\d{2}(?:\.\d*)?))?)?")

_DATE_DIGITS = 8
_REMEMBERED = 4096
"""Size of the caches: each view of a study is compared with all others."""

_Stamp = tuple[str | None, str | None]
"""Date and time."""


def gap_between(one: Header, other: Header) -> float | None:
    """Seconds between the starts of two acquisitions; None if one has no time. Days count only if both have a date.

    Where Acquisition DateTime says otherwise than date and time, the larger gap counts.
    """
    gaps = [_gap(*stamps) for stamps in _stamps(one, other)]
    return max((gap for gap in gaps if gap is not None), default=None)


def are_of_other_days(one: Header, other: Header) -> bool:
    """Return True if both objects have an Acquisition Date or DateTime, and not of the same day."""
    return any(_are_other(first[0], second[0]) for first, second in _stamps(one, other))


def have_other_content_dates(one: Header, other: Header) -> bool:
    """Return True if two objects without dates of acquisition have Content Dates, and not the same."""
    return _are_other(one.content_date, other.content_date)


def acquisition(date: str | None, time: str | None, moment: str | None) -> tuple[str | None, str | None]:
    """Return Acquisition Date and Acquisition Time, those that are absent from Acquisition DateTime.

    Parameters
    ----------
    date, time
        (0008,0022) and (0008,0032).
    moment
        (0008,002A), ``YYYYMMDDHHMMSS.FFFFFF&ZZXX``; the offset from UTC is left out (PS3.5 section 6.2, DT).
    """
    if moment is None:
        return date, time
    local = moment.partition("+")[0].partition("-")[0]
    return date or local[:_DATE_DIGITS] or None, time or local[_DATE_DIGITS:] or None


@lru_cache(_REMEMBERED)
def day_of(text: str | None) -> int | None:
    """Ordinal of a DICOM DA value; None if it is absent or no date. ACR-NEMA wrote ``YYYY.MM.DD``."""
    found = _DATE.fullmatch((text or "").strip())
    if found is None:
        return None
    try:
        return date(int(found[1]), int(found[3]), int(found[4])).toordinal()
    except ValueError:
        return None


@lru_cache(_REMEMBERED)
def seconds_of(text: str | None) -> float | None:
    """Seconds since midnight of a DICOM TM value; None if it is absent or no time.

    Midnight itself is no time: programs that remove identities write it into every object.

    >>> seconds_of("101502.5"), seconds_of("000000")
    (36902.5, None)
    """
    found = _TIME.fullmatch((text or "").strip())
    if found is None:
        return None
    hours, minutes, seconds = int(found[1]), int(found[2] or 0), float(found[3] or 0)
    return hours * 3600 + minutes * 60 + seconds or None


def _stamps(one: Header, other: Header) -> tuple[tuple[_Stamp, _Stamp], ...]:
    """Date and time of both objects: those of acquisition, and those of Acquisition DateTime."""
    first, second = (acquisition(None, None, header.acquisition_datetime) for header in (one, other))
    return (
        ((one.acquisition_date, one.acquisition_time), (other.acquisition_date, other.acquisition_time)),
        (first, second),
    )


def _gap(first: _Stamp, second: _Stamp) -> float | None:
    starts = seconds_of(first[1]), seconds_of(second[1])
    if starts[0] is None or starts[1] is None:
        return None
    days = day_of(first[0]), day_of(second[0])
    if days[0] is None or days[1] is None:
        return abs(starts[0] - starts[1])
    return abs(starts[0] - starts[1] + (days[0] - days[1]) * DAY)


def _are_other(first: str | None, second: str | None) -> bool:
    days = day_of(first), day_of(second)
    return None not in days and days[0] != days[1]
