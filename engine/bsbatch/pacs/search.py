"""The searches that together find the wanted studies: one for each month, Accession Number or Patient ID."""

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise

from bsbatch.pacs.protocol import StudyFilter
from bsbatch.pacs.settings import Wanted


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
