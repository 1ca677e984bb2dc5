"""Names, dates and UIDs of a synthetic study, derived from its seed and never from a person."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

_FIRST_DAY = dt.date(2010, 1, 4)
_DAYS = 9 * 365
"""Studies of 2010 to 2018, as in the paper."""

_UID_BYTES = 15
"""Bytes of a UID: 120 bits stay below the limit of 39 digits under 2.25 (PS3.5 B.2)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Values shared by the objects of one study."""

    seed: int
    label: str
    """Centre and number, such as A00012; extra studies append X and a number."""
    date: str
    """YYYYMMDD."""
    time: str
    """HHMMSS, local."""

    def uid(self, *what: str | int) -> str:
        """Return a UID under 2.25 that depends only on the seed, the study and ``what``."""
        text = "/".join(str(part) for part in (self.seed, self.label, *what))
        digest = hashlib.sha256(text.encode()).digest()
        return f"2.25.{int.from_bytes(digest[:_UID_BYTES], 'big')}"

    @property
    def study_uid(self) -> str:
        """(0020,000D) Study Instance UID."""
        return self.uid("study")

    @property
    def patient_name(self) -> str:
        """(0010,0010), such as Phantom^A00012."""
        return f"Phantom^{self.label}"

    @property
    def patient_id(self) -> str:
        """(0010,0020), such as PHANTOM-A00012."""
        return f"PHANTOM-{self.label}"

    def time_after(self, seconds: int) -> str:
        """Return the time of day ``seconds`` after the start of the study, HHMMSS."""
        start = dt.datetime.strptime(self.date + self.time, "%Y%m%d%H%M%S")
        return (start + dt.timedelta(seconds=seconds)).strftime("%H%M%S")


def draw_identity(rng: Generator, seed: int, label: str) -> Identity:
    """Draw a day and a time between 8:00 and 16:00."""
    day = _FIRST_DAY + dt.timedelta(days=int(rng.integers(_DAYS)))
    seconds = int(rng.integers(8 * 3600, 16 * 3600))
    clock = dt.timedelta(seconds=seconds)
    moment = dt.datetime.combine(day, dt.time()) + clock
    return Identity(seed, label, day.strftime("%Y%m%d"), moment.strftime("%H%M%S"))


def random_stream(seed: int, *path: int) -> Generator:
    """Return the random generator for one purpose of one study."""
    return np.random.default_rng(np.random.SeedSequence([seed, *path]))
