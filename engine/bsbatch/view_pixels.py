"""Pixels of one view, and the counts that they stand for."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST_COUNTS = 1e15
"""Largest count, slope and intercept, and the largest inverse of a slope.

Within these bounds sums over a view, their products and the inverse of a count are finite in every statistic.
"""


@dataclass(frozen=True, slots=True)
class LookupTable:
    """Counts of each sample, (0028,3000) Modality LUT Sequence, PS3.3 section C.11.1."""

    first: int
    """Sample of the first entry; smaller samples have the same counts."""
    entries: NDArray[np.uint16]
    """Counts of this sample and of the following ones; larger samples have the counts of the last entry."""

    def counts(self, samples: NDArray[np.generic]) -> NDArray[np.uint16]:
        """Look up the counts of every sample."""
        entry = np.clip(samples.astype(np.int64) - self.first, 0, len(self.entries) - 1)
        return np.asarray(self.entries[entry], np.uint16)


class ViewPixels(NamedTuple):
    """The pixels of one view, before preprocessing. A tuple, see `bsbatch.records`."""

    stored: NDArray[np.generic]
    """``(rows, columns)`` samples without the unused bits of their containers; displays inverted, padding replaced."""
    slope: float = 1.0
    """(0028,1053) Rescale Slope."""
    intercept: float = 0.0
    """(0028,1052) Rescale Intercept."""
    table: LookupTable | None = None
    """Modality LUT; a view has either one or a slope and intercept."""
    has_padding: bool = False
    """True if padding was replaced by the sample of no counts."""

    @property
    def is_finite(self) -> bool:
        """True if rescaling leads to no count beyond `MOST_COUNTS`; the counts are not computed."""
        if self.table is not None or (self.slope, self.intercept) == (1.0, 0.0):
            return True
        ends = (self.slope * float(end) + self.intercept for end in (self.stored.min(), self.stored.max()))
        return can_rescale(self.slope, self.intercept) and all(abs(count) <= MOST_COUNTS for count in ends)

    @property
    def counts(self) -> NDArray[np.float32]:
        """``(rows, columns)``, rescaled or looked up; computed at each access."""
        counts = (self.stored if self.table is None else self.table.counts(self.stored)).astype(np.float32)
        if (self.slope, self.intercept) != (1.0, 0.0):
            counts = counts * np.float32(self.slope) + np.float32(self.intercept)
        return counts

    @property
    def values(self) -> NDArray[np.generic]:
        """The counts; the stored pixels themselves if they equal the counts, which are half as large in memory."""
        is_same = self.table is None and (self.slope, self.intercept) == (1.0, 0.0)
        return self.stored if is_same else self.counts


def can_rescale(slope: float, intercept: float) -> bool:
    """Return True if slope, its inverse and intercept are at most `MOST_COUNTS`, whatever their signs; NaN is not."""
    return 1 / MOST_COUNTS <= abs(slope) <= MOST_COUNTS and abs(intercept) <= MOST_COUNTS
