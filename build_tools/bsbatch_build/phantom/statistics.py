"""Histogram statistics of views, and those of real scans for comparison."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class CountStatistics:
    """Statistics of the counts of one view."""

    counts: float
    """Sum of the pixels in millions."""
    zeros: float
    """Share of pixels without a count, 0 to 1."""
    median: float
    """Median of the pixels with counts; the next four fields refer to these pixels, too."""
    p90: float
    p99: float
    p999: float
    greatest: float
    peak: float
    """Ratio of the greatest count to p99."""
    rows: float
    """Share of rows with any count, 0 to 1."""


_PERCENTS = (50.0, 90.0, 99.0, 99.9, 100.0)


def statistics_of(view: NDArray[np.int64]) -> CountStatistics:
    """Compute the statistics of one view of counts (rows, columns) with at least one count."""
    hit = view[view > 0]
    median, p90, p99, p999, greatest = (float(x) for x in np.percentile(hit, _PERCENTS))
    return CountStatistics(
        counts=float(view.sum()) / 1e6,
        zeros=1.0 - hit.size / view.size,
        median=median,
        p90=p90,
        p99=p99,
        p999=p999,
        greatest=greatest,
        peak=greatest / p99,
        rows=float((view.sum(axis=1) > 0).mean()),
    )


HEADER = ("views", *(field.name for field in fields(CountStatistics)))

REAL = (
    (
        "4 scans, GE 670",
        "0.36-0.68",
        "0.62-0.68",
        "3-5",
        "10-19",
        "21-39",
        "28-179",
        "38-252",
        "1.8-8.7",
    ),
    ("NM1, GE Millennium", "3.60", "0.49", "23", "56", "112", "205", "278", "2.5"),
)
"""Real whole-body scans measured when the phantom was designed; docs/phantoms.md names them."""

_REAL_ROWS = "0.73-0.84"
_DIGITS = (2, 2, 0, 0, 0, 0, 0, 1, 2)


def real_rows() -> list[tuple[str, ...]]:
    """Return the rows of real scans, in the columns of HEADER."""
    return [(*row, _REAL_ROWS) for row in REAL]


def summary_row(name: str, measured: Sequence[CountStatistics]) -> tuple[str, ...]:
    """Return one table row: median and 10th to 90th percentile of every statistic."""
    table = np.array([astuple(one) for one in measured])
    low, middle, high = np.percentile(table, (10, 50, 90), axis=0)
    cells = zip(low, middle, high, _DIGITS, strict=True)
    return (name, *(f"{m:.{d}f} ({a:.{d}f}-{b:.{d}f})" for a, m, b, d in cells))


_REAL_COUNTS = ((0.36, 0.68), (2.9, 3.7))
"""Ranges of the real scans' counts, in millions; phantoms within them are comparable."""


def rows_at_real_counts(measured: Sequence[CountStatistics]) -> list[tuple[str, ...]]:
    """Return the rows of the views whose counts lie in the ranges of the real scans."""
    rows = []
    for low, high in _REAL_COUNTS:
        alike = [one for one in measured if low <= one.counts <= high]
        if alike:
            rows.append(summary_row(f"{len(alike)} views of {low}-{high} M", alike))
    return rows


def markdown(rows: Iterable[Sequence[str]]) -> str:
    """Format a Markdown table under HEADER."""
    lines = [HEADER, tuple("---" for _ in HEADER), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
