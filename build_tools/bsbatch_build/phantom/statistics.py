"""Histogram figures of views, beside those of real scans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Figures:
    """What the histogram of one view says."""

    counts: float
    """Sum of the pixels in millions."""
    zeros: float
    """Share of pixels without a count, 0 to 1."""
    median: float
    """Of the pixels with counts, as are the percentiles that follow."""
    p90: float
    p99: float
    p999: float
    greatest: float
    peak: float
    """Greatest over p99."""
    rows: float
    """Share of rows with any count, 0 to 1."""


_PERCENTS = (50.0, 90.0, 99.0, 99.9, 100.0)


def figures(view: NDArray[np.int64]) -> Figures:
    """Measure one view of counts (rows, columns) that has at least one count."""
    hit = view[view > 0]
    median, p90, p99, p999, greatest = (float(x) for x in np.percentile(hit, _PERCENTS))
    return Figures(
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


HEADER = ("views", *(field.name for field in fields(Figures)))

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
    """Rows of real scans in the columns of HEADER."""
    return [(*row, _REAL_ROWS) for row in REAL]


def summary_row(name: str, measured: Sequence[Figures]) -> tuple[str, ...]:
    """Median and 10th to 90th percentile of every figure."""
    table = np.array([astuple(one) for one in measured])
    low, middle, high = np.percentile(table, (10, 50, 90), axis=0)
    cells = zip(low, middle, high, _DIGITS, strict=True)
    return (name, *(f"{m:.{d}f} ({a:.{d}f}-{b:.{d}f})" for a, m, b, d in cells))


_MATCHED = ((0.36, 0.68), (2.9, 3.7))
"""Counts of the real scans, in millions: phantoms of these are to be held against them."""


def matched_rows(measured: Sequence[Figures]) -> list[tuple[str, ...]]:
    """Rows of the views with as many counts as the real scans have."""
    rows = []
    for low, high in _MATCHED:
        alike = [one for one in measured if low <= one.counts <= high]
        if alike:
            rows.append(summary_row(f"{len(alike)} views of {low}-{high} M", alike))
    return rows


def markdown(rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table under HEADER."""
    lines = [HEADER, tuple("---" for _ in HEADER), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
