"""Pixels of one view, and the counts that they stand for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ViewPixels:
    """The pixels of one view, before preprocessing."""

    stored: NDArray[np.generic]
    """``(rows, columns)`` as in the file."""
    slope: float = 1.0
    """(0028,1053) Rescale Slope."""
    intercept: float = 0.0
    """(0028,1052) Rescale Intercept."""
    is_inverted: bool = False
    """MONOCHROME1: the largest value is the darkest."""

    @property
    def counts(self) -> NDArray[np.float32]:
        """``(rows, columns)``, rescaled, MONOCHROME1 inverted; computed at each access."""
        counts = self.stored.astype(np.float32)
        if (self.slope, self.intercept) != (1.0, 0.0):
            counts = counts * np.float32(self.slope) + np.float32(self.intercept)
        return counts.max() + counts.min() - counts if self.is_inverted else counts

    @property
    def values(self) -> NDArray[np.generic]:
        """The counts; the stored pixels themselves if they equal the counts, which are half as large in memory."""
        is_same = (self.slope, self.intercept, self.is_inverted) == (1.0, 0.0, False)
        return self.stored if is_same else self.counts
