"""Dates and numbers in the cells of a table. What can be read in two ways is not read."""

import re
from collections.abc import Sequence
from datetime import date

import pyarrow as pa

_ISO = re.compile(r"(\d{4})([-./]?)(\d{1,2})\2(\d{1,2})(?:[T ].*)?")
_OTHER = re.compile(r"(\d{1,2})([-./])(\d{1,2})\2(\d{4})(?: .*)?")
_DAY_FIRST = "."
"""Separator of dates that begin with the day wherever it is used: 31.01.2019."""
_MONTHS = 12
_WHOLE = re.compile(r"-?(?:0|[1-9]\d{0,17})")
"""A leading zero makes a text: 0815 is an identifier."""
_POINT, _COMMA = re.compile(r"-?\d{1,15}\.\d{1,15}"), re.compile(r"-?\d{1,15},\d{1,15}")
_THOUSANDS = re.compile(r"-?[1-9]\d{0,2}(?:,\d{3})+")


def dates_of(texts: Sequence[str]) -> list[date | None]:
    """Read the dates of a column; None for a text that is no date.

    ``2019-01-31``, ``20190131`` and ``31.01.2019`` are read as they are, with or without a time behind them.
    ``01/02/2019`` is read only if another date of the column shows whether its day or its month comes first.
    """
    found = [_OTHER.fullmatch(text) for text in texts]
    ends = [(int(match[1]), int(match[3])) for match in found if match and match[2] != _DAY_FIRST]
    is_day_first, is_month_first = any(one > _MONTHS for one, _ in ends), any(other > _MONTHS for _, other in ends)
    order = None if is_day_first == is_month_first else is_day_first
    return [_date(text, order) for text in texts]


def _date(text: str, is_day_first: bool | None) -> date | None:
    if iso := _ISO.fullmatch(text):
        parts = iso[1], iso[3], iso[4]
        if not iso[2] and len(iso[3] + iso[4]) != 4:  # noqa: PLR2004 - digits of month and day
            return None
    elif other := _OTHER.fullmatch(text):
        if other[2] == _DAY_FIRST:
            is_day_first = True
        if is_day_first is None and other[1] != other[3]:
            return None
        parts = (other[4], other[3], other[1]) if is_day_first else (other[4], other[1], other[3])
    else:
        return None
    try:
        return date(*map(int, parts))
    except ValueError:
        return None


def typed(texts: Sequence[str]) -> pa.Array:
    """Return a column as whole numbers, else decimals with a point or a comma, else texts; empty cells are null.

    A column of commas alone that may all divide thousands (``1,234``) stays text.
    """
    filled = [text for text in texts if text]
    if filled and all(map(_WHOLE.fullmatch, filled)):
        return pa.array([int(text) if text else None for text in texts], pa.int64())
    for mark, form in ((".", _POINT), (",", _COMMA)):
        if filled and all(form.fullmatch(text) or _WHOLE.fullmatch(text) for text in filled):
            if mark == "," and all(map(_THOUSANDS.fullmatch, filter(_COMMA.fullmatch, filled))):
                break
            return pa.array([float(text.replace(mark, ".")) if text else None for text in texts], pa.float64())
    return pa.array([text or None for text in texts], pa.string())
