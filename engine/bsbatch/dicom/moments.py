"""Dates and times of acquisitions as numbers, PS3.5 section 6.2, in the forms of older standards, too."""

import re
from datetime import date

from bsbatch.records import Header

DAY = 86400.0
_DATE = re.compile(r"(\d{4})([./-]?)(\d{2})\2(\d{2})")
_TIME = re.compile(r"(\d{2}):?(?:(\d{2}):?(?:(\d{2}(?:\.\d*)?))?)?")


def day_of(header: Header) -> int | None:
    """Ordinal of Acquisition Date; None if it is absent or no date. ACR-NEMA wrote ``YYYY.MM.DD``."""
    found = _DATE.fullmatch((header.acquisition_date or "").strip())
    if found is None:
        return None
    try:
        return date(int(found[1]), int(found[3]), int(found[4])).toordinal()
    except ValueError:
        return None


def seconds_of(time: str | None) -> float | None:
    """Seconds since midnight of a DICOM TM value; None if it is absent or no time.

    Midnight itself is no time: programs that remove identities write it into every object.

    >>> seconds_of("101502.5"), seconds_of("000000")
    (36902.5, None)
    """
    found = _TIME.fullmatch((time or "").strip())
    if found is None:
        return None
    hours, minutes, seconds = int(found[1]), int(found[2] or 0), float(found[3] or 0)
    return hours * 3600 + minutes * 60 + seconds or None


def gap_between(one: Header, other: Header) -> float | None:
    """Seconds between the starts of two acquisitions; None if one has no time. Days count only if both have a date."""
    first, second = seconds_of(one.acquisition_time), seconds_of(other.acquisition_time)
    if first is None or second is None:
        return None
    days = day_of(one), day_of(other)
    if days[0] is None or days[1] is None:
        return abs(first - second)
    return abs(first - second + (days[0] - days[1]) * DAY)


def are_of_other_days(one: Header, other: Header) -> bool:
    """Return True if both objects have an Acquisition Date, and not the same."""
    first, second = day_of(one), day_of(other)
    return first is not None and second is not None and first != second
