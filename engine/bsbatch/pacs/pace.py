"""Pauses between requests, so that a clinical PACS stays fast: a rate, and hours outside of which it is left alone."""

import logging
import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from datetime import time as time_of_day
from typing import NamedTuple, Self

from bsbatch.errors import UsageError
from bsbatch.host.threads import Event, Lock

logger = logging.getLogger(__name__)
_HOURS = re.compile(r"((?:[01]\d|2[0-3]):[0-5]\d)-((?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII)
_LONGEST_SLEEP = 60.0
"""Seconds until the clock is read again: it may be set, change to summer time, or have stood still."""


class Hours(NamedTuple):
    """A part of the day, local time. It runs over midnight if it ends before it begins."""

    begin: time_of_day
    end: time_of_day
    """The first minute that no longer belongs to it."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``20:00-06:00``.

        Raises
        ------
        bsbatch.errors.UsageError
            It is no such text, or begin and end are equal.
        """
        found = _HOURS.fullmatch(text.strip())
        if found is None or found[1] == found[2]:
            raise UsageError(f"hours are two times of a day, such as 20:00-06:00, not {text}")
        return cls(time_of_day.fromisoformat(found[1]), time_of_day.fromisoformat(found[2]))

    def __str__(self) -> str:
        return f"{self.begin:%H:%M}-{self.end:%H:%M}"

    def seconds_until(self, now: datetime) -> float:
        """Seconds until these hours begin; 0 within them."""
        has_begun, goes_on = self.begin <= now.time(), now.time() < self.end
        if (has_begun or goes_on) if self.end < self.begin else (has_begun and goes_on):
            return 0.0
        begin = datetime.combine(now.date(), self.begin)
        return (begin - now + timedelta(days=begin < now)).total_seconds()


class SteadyPace:
    """The pace of all threads of a client: objects a second on average, within hours.

    Parameters
    ----------
    rate
        Objects a second; None does not limit them. Queries are not counted, because one is asked for many objects.
    hours
        When the PACS may be asked anything; None is always.
    sleep, seconds, local_time
        The clock, for tests.
    """

    def __init__(
        self,
        rate: float | None = None,
        hours: Hours | None = None,
        *,
        sleep: Callable[[float], None] | None = None,
        seconds: Callable[[], float] = time.monotonic,
        local_time: Callable[[], datetime] = datetime.now,
    ) -> None:
        if rate is not None and not 0 < rate < float("inf"):
            raise UsageError("a rate is a number of objects a second, above 0")
        self._rate, self._hours = rate, hours
        self._sleep, self._seconds, self._local_time = sleep or self.pause, seconds, local_time
        self._free_from = seconds()
        self._lock, self._stopped = Lock(), Event()

    def wait(self, objects: int, leave: Callable[[], object] | None = None) -> None:
        """Block until the PACS may be asked for that many objects more; 0 is a query.

        ``leave`` is called before the hours are waited for.
        """
        if self._rate is not None and objects:
            self._sleep_for(self._reserve(objects / self._rate))
        self._wait_for_hours(leave)

    def pause(self, duration: float) -> None:
        """Block for a number of seconds, or until `stop` is called.

        Raises
        ------
        KeyboardInterrupt
            It was called.
        """
        if self._stopped.wait(duration):
            raise KeyboardInterrupt

    def stop(self) -> None:
        """End the pauses of all threads; another thread may call it."""
        self._stopped.set()

    def _reserve(self, duration: float) -> float:
        """Reserve the time of some objects behind those of other threads; returns the seconds until it begins."""
        with self._lock:
            now = self._seconds()
            begin = max(now, self._free_from)
            self._free_from = begin + duration
            return begin - now

    def _sleep_for(self, duration: float) -> None:
        if duration > 0:
            self._sleep(duration)

    def _wait_for_hours(self, leave: Callable[[], object] | None) -> None:
        is_announced = False
        while self._hours is not None and (left := self._hours.seconds_until(self._local_time())) > 0:
            if not is_announced:
                logger.warning("outside %s: waiting until %s", self._hours, self._hours.begin.strftime("%H:%M"))
                is_announced = True
                if leave is not None:
                    leave()
            self._sleep(min(left, _LONGEST_SLEEP))
