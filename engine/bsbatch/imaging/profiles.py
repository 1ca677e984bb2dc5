"""Profiles of the body along the rows and the columns of two views, and rows of which the counts are missing.

Compiled code computes the same, see `bsbatch.native.view_pairs`. So numbers are integers, and a root is rounded once.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bsbatch.native.view_pairs import CELLS, Pixels

_FEWEST_COUNTS = 128
"""Counts that a row must be expected to have before it can be missing; fewer come and go by chance."""
_ROOT_STEPS = 16
"""Steps per unit of a rounded square root of counts."""
_FAINT = 387
"""Thousandths of the body's mean, of roots, from which on a cell belongs to it: 15 % of its counts. Legs have a half of
them, the air a twentieth."""
_BRIGHT = 1732
"""Thousandths of the mean beyond which roots do not rise: three times its counts. Only hot spots have more."""
_ABSENT = 10
"""Ratio of the counts of two views in a cell where one of them lacks the body."""

Sums = NDArray[np.float64]
Whole = NDArray[np.int64]


class PairProfile(NamedTuple):
    """Profiles of both views, the anterior one first."""

    rows: NDArray[np.integer]
    """``(2, 64)`` widths of the body in each band of rows: sums of the roots of counts, limited at hot spots."""
    columns: NDArray[np.integer]
    """``(2, 16)``, likewise in each band of columns."""
    missing_rows: int
    """The number in either view, see `count_missing`."""
    body_cells: int
    """Cells that the body covers in either view."""
    absent_cells: int
    """Those in which one view has less than a tenth of the counts of the other."""


def profile_pair(anterior: Pixels, posterior: Pixels) -> PairProfile:
    """Compute the profiles of two views of ``(rows, columns)`` counts, the posterior one as seen from behind."""
    cells = np.stack([sum_cells(anterior), sum_cells(posterior)])
    covers = np.stack([_cover(cells[0]), _cover(cells[1])])
    front, back = cells[0], cells[1, :, ::-1]
    body = (covers[0] > 0) | (covers[1, :, ::-1] > 0)
    absent = body & (_ABSENT * np.minimum(front, back) < np.maximum(front, back))
    missing = count_missing(anterior) + count_missing(posterior)
    rows, columns = covers.sum(axis=2), covers.sum(axis=1)
    return PairProfile(rows, columns, missing, int(np.count_nonzero(body)), int(np.count_nonzero(absent)))


def sum_cells(values: Pixels) -> Sums:
    """Sum the counts over a grid of `CELLS`. No pair of rows or of columns is divided between two cells."""
    bands, columns = (_starts(size, number) for size, number in zip(values.shape, CELLS, strict=True))
    sums = np.zeros(CELLS)
    in_bands = np.add.reduceat(values, bands[1], axis=0, dtype=np.float64)
    sums[bands[0][:, np.newaxis], columns[0]] = np.add.reduceat(in_bands, columns[1], axis=1)
    return sums


def count_missing(values: Pixels) -> int:
    """Count the rows that lack the counts which the rows above and below them promise.

    A row is promised the least of two maxima, one over the rows above it and one over those below. It is missing if it
    has less than a quarter of the counts promised, and less than three fifths of the pixels with counts: between two
    hot spots there are few counts, but as many pixels. It can be missing only where at least half the mean counts are
    promised, and a third of the largest width: a catheter's bag below the feet promises nothing.
    """
    counts, widths = values.sum(axis=1, dtype=np.float64), np.count_nonzero(values > 0, axis=1).astype(np.float64)
    promised, width = _fill_valleys(counts), _fill_valleys(widths)
    can_be_missing = (promised >= _FEWEST_COUNTS) & (2 * len(counts) * promised > counts.sum())
    is_wide = 3 * width >= widths.max()
    return int(np.count_nonzero(can_be_missing & is_wide & (4 * counts < promised) & (5 * widths < 3 * width)))


def _cover(cells: Sums) -> Whole:
    """Roots of the counts of cells: 0 where the body is not, and limited at hot spots."""
    roots = np.floor(np.sqrt(np.maximum(cells, 0)) * _ROOT_STEPS + 0.5).astype(np.int64)
    total, number = _sum_above(roots, int(roots.sum()), roots.size, 1)
    total, number = _sum_above(roots, total, number, 2)
    limited = np.minimum(roots, _BRIGHT * total // (1000 * max(number, 1)))
    return np.where(1000 * number * roots < _FAINT * total, 0, limited)


def _sum_above(roots: Whole, total: int, number: int, share: int) -> tuple[int, int]:
    """Sum and number of the roots above one ``share``-th of a mean."""
    above = roots[share * number * roots > total]
    return int(above.sum()), above.size


@lru_cache(32)
def _starts(size: int, number: int) -> tuple[Whole, Whole]:
    """Return the bands that are not empty, of ``number`` bands, and their first row or column."""
    band_of_each = np.arange(size) // 2 * number // ((size + 1) // 2)
    return np.unique(band_of_each, return_index=True)


def _fill_valleys(values: Sums) -> Sums:
    """Raise each value to the largest before it or the largest behind it, whichever is less."""
    before, behind = np.maximum.accumulate(values), np.maximum.accumulate(values[::-1])[::-1]
    return np.minimum(before, behind)
