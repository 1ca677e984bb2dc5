"""The searches that together find the wanted studies: one for each month, Accession Number or Patient ID."""

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

from bsbatch.errors import UsageError
from bsbatch.host.files import read_plain
from bsbatch.pacs.protocol import StudyFilter
from bsbatch.pacs.settings import Wanted

_LIST_BYTES, _LONGEST_VALUE = 1 << 26, 64
"""Bytes of a list, and characters of a value: LO, PS3.5 section 6.2."""
_NO_VALUE = frozenset("\\*?")
"""Separator of values, and wildcards, PS3.4 C.2.2.2.4: they would find other patients."""


def searches(wanted: Wanted, today: date) -> Iterator[StudyFilter]:
    """Yield the searches: one for each month from the first day on, so that no answer is that of a whole archive."""
    if wanted.accessions or wanted.patients:
        dates = _range(wanted.since, wanted.until)
        yield from (StudyFilter(dates, accession=value) for value in wanted.accessions)
        yield from (StudyFilter(dates, patient=value) for value in wanted.patients)
    elif wanted.since is None:
        yield StudyFilter(_range(None, wanted.until))
    else:
        yield from (StudyFilter(_range(*days)) for days in _months(wanted.since, wanted.until, today))


def read_list(path: Path) -> tuple[str, ...]:
    """Read a list of values, one a line; empty lines and repetitions are dropped.

    Raises
    ------
    UsageError
        The file cannot be read, holds no value, or one that no attribute can have.
    """
    try:
        text = read_plain(path, _LIST_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path} as text, one value a line, in UTF-8") from error
    values = tuple(dict.fromkeys(filter(None, map(str.strip, text.splitlines()))))
    for number, value in enumerate(values, 1):
        if len(value) > _LONGEST_VALUE or not _NO_VALUE.isdisjoint(value) or not value.isprintable():
            raise UsageError(f"value {number} of {path} has more than {_LONGEST_VALUE} characters, or one of \\ * ?")
    if not values:
        raise UsageError(f"{path} holds no value")
    return values


def _months(since: date, until: date | None, today: date) -> Iterator[tuple[date, date | None]]:
    """Yield ranges of days, a month each; without a last day, the last range is open: clocks of cameras go ahead."""
    starts, start = [since], since
    while (start := (start.replace(day=1) + timedelta(31)).replace(day=1)) <= (until or today):
        starts.append(start)
    yield from ((first, after - timedelta(1)) for first, after in pairwise(starts))
    yield starts[-1], until


def _range(since: date | None, until: date | None) -> str | None:
    """Range matching of a date, PS3.4 C.2.2.2.5."""
    days = [f"{day:%Y%m%d}" if day else "" for day in (since, until)]
    return "-".join(days) if any(days) else None
