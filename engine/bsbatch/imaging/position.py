"""Position of the body in both views: which way up, from which row of the body to which, and seen by both detectors.

The rows of a view are compared with those of two bodies, one with the arms down and one with the arms up, either way
up, and with every piece of them from one height to another. A row's width is the number of columns that the body
covers; faint ones cover less. The piece that resembles the view best says which way up the body lies. A part of the
body lies outside if a piece without it explains the view clearly better than any whole body does.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bsbatch.imaging.profiles import PairProfile
from bsbatch.native.view_pairs import CELLS

Widths = NDArray[np.integer]
"""A profile, see `bsbatch.imaging.profiles`."""
Samples = NDArray[np.floating]
"""Widths of a body from its first row to its last."""

# fmt: off
_STANDING = np.array([
    0.27, 0.48, 0.55, 0.64, 0.59, 0.62, 1.36, 1.71, 1.70, 1.71, 1.70, 1.69, 1.72, 1.71, 1.58, 1.62, 1.66, 1.71, 1.65,
    1.43, 1.26, 1.16, 1.02, 0.86, 0.81, 0.78, 0.82, 0.75, 0.68, 0.64, 0.62, 0.59, 0.55, 0.52, 0.49, 0.49, 0.53, 0.55,
    0.51, 0.29,
])
"""Widths of a standing body from vertex to sole, over their mean: the average of 430 views of phantoms."""
_ARMS_UP = np.array([
    0.20, 0.29, 0.36, 0.38, 0.41, 0.47, 0.55, 0.65,
    0.86, 1.06, 1.19, 1.35, 1.37, 1.39, 1.80, 1.95, 1.80, 1.73, 1.70, 1.67, 1.65, 1.62, 1.52, 1.54, 1.65, 1.73, 1.79,
    1.54, 1.29, 1.17, 1.13, 1.08, 1.03, 0.98, 0.95, 1.00, 0.92, 0.83, 0.78, 0.76, 0.73, 0.68, 0.64, 0.61, 0.60, 0.63,
    0.66, 0.53,
])
"""Likewise with the arms above the head, the first row by the forearms: the average of 210 views of phantoms."""
_TOPS = (0.0, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)
_ABOVE = (-0.2, -0.15, -0.1, -0.075, -0.05, -0.025)
"""Tops above the vertex, of a body with the arms up."""
_BOTTOMS = (0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
# fmt: on
_SHORTEST = 0.25
"""Shortest piece of a body that is compared, as a share of its height."""
_SAMPLES, _EIGHTHS = 32, 8
_LEAST_SPREAD = 0.01
"""Variance of the widths over their mean square; 0.15 to 0.2 for whole bodies. Rows of one width have no shape."""
_LEAST_LIKENESS = 0.7
"""Correlation from which on a view is a body; 0.93 to 1.00 for whole ones, and below 0.7 for noise."""
_GAIN = 0.01
"""Gain in correlation by which a body upside down must explain a view better than an upright one."""
_CUT_GAIN = 0.02
"""Gain by which a piece without head or legs must explain a view better than a whole body: arms are raised in many
ways, and the part of them above the vertex may lie outside the view."""
_HEAD_CUT, _LEGS_CUT = 0.09, 0.81
"""First and last height of a truncated body: most of the head, or all below the middle of the shanks, lies outside."""
_LYING = 0.8
"""Height over width of a body that lies across the matrix; 2.4 to 4.7 for whole ones, 1 to 2.5 for halves."""
_SYMMETRIC = 0.92
"""Correlation of widths with their reverse: left and right of a body are alike, head and feet are not."""
_SLIM, _ABRUPT = 4.2, 0.65
"""Height over width, and counts of an outer eighth over those of the largest, of a body without one of its sides."""
_FEW_ABSENT = 0.05
"""Share of the body that one view may lack."""
_FAINTER = 3.0
"""Ratio of the counts of two views of which one is much fainter."""


class Position(NamedTuple):
    """Faults in the position of a body."""

    is_turned: bool
    """The body lies upside down, or across the matrix."""
    is_cut: bool
    """A part of the body lies outside a view: above, below, or at one side."""
    is_uneven: bool
    """One view lacks a part of the body that the other shows, or is much fainter. Turned views show it elsewhere."""


def judge(pair: PairProfile, totals: tuple[float, float], shape: tuple[int, ...]) -> Position:
    """Judge the position of the body.

    Parameters
    ----------
    pair
        Profiles of both views.
    totals
        Sums of counts of both views.
    shape
        Rows and columns of the anterior view.
    """
    spans, rows = [_span(widths) for widths in pair.rows], pair.rows.astype(np.float32)
    samples = np.array([_weights(*span) @ widths for span, widths in zip(spans, rows, strict=True)])
    both_ways = np.concatenate((samples, samples[:, ::-1])) @ _PIECES
    both_ways[2:] *= _IS_NO_TRUNK
    squareness = shape[0] * CELLS[1] / (shape[1] * CELLS[0])
    judged = [
        _judge_view(samples[view], both_ways[view::2], _View(spans[view], pair.columns[view], squareness))
        for view in (0, 1)
    ]
    is_turned, is_cut = (any(faults) for faults in zip(*judged, strict=True))
    is_absent = not is_turned and pair.absent_cells > _FEW_ABSENT * pair.body_cells
    return Position(is_turned, is_cut, is_absent or max(totals) > _FAINTER * min(totals))


class _View(NamedTuple):
    height: tuple[int, int]
    """Bands of rows that the body spans."""
    columns: Widths
    squareness: float
    """Height of a band of rows over the width of a band of columns."""


def _judge_view(samples: Samples, both_ways: Samples, view: _View) -> tuple[bool, bool]:
    """Return True if the body is turned, and True if it is cut.

    Parameters
    ----------
    samples
        ``(32,)`` widths of the body from its first row to its last.
    both_ways
        ``(2, pieces)`` their products with all pieces, as they are and upside down.
    view
        The rest of its profile.
    """
    total, square = float(samples.sum()), float(samples @ samples)
    spread = square - total * total / _SAMPLES
    if spread <= _LEAST_SPREAD * square:
        return False, False
    upright, reverse = map(float, both_ways.max(axis=1))
    gain, norm = reverse - upright, math.sqrt(spread)
    if max(upright, reverse) < _LEAST_LIKENESS * norm:
        return False, False
    width = _span(view.columns)
    symmetry = float(samples @ samples[::-1]) - total * total / _SAMPLES
    slimness = (view.height[1] - view.height[0]) / (width[1] - width[0]) * view.squareness
    if symmetry > _SYMMETRIC * spread or slimness < _LYING:
        return True, False
    likeness = both_ways[int(gain > 0)]
    is_half = slimness > _SLIM and _edge_of(view.columns, width) > _ABRUPT
    is_piece = float(likeness[:_WHOLE].max()) + _CUT_GAIN * norm < max(upright, reverse)
    return gain > _GAIN * norm, is_piece or is_half


def _span(widths: Widths) -> tuple[int, int]:
    """Index of the first width above zero, and behind the last one; of all of them if there is none."""
    used = widths.nonzero()[0]
    return (int(used[0]), int(used[-1]) + 1) if used.size else (0, widths.size)


def _edge_of(columns: Widths, span: tuple[int, int]) -> float:
    """Return the larger of the outer eighths of the columns, over the largest eighth."""
    eighths = _weights(*span, CELLS[1], _EIGHTHS) @ columns
    return float(max(eighths[0], eighths[-1]) / eighths.max())


def _means(values: NDArray[np.number], span: tuple[float, float], number: int) -> Samples:
    """Means over equal parts of a span."""
    sums = np.concatenate(([0.0], np.cumsum(values, dtype=np.float64)))
    edges = np.linspace(span[0], span[1], number + 1)
    return np.diff(np.interp(edges, np.arange(len(sums)), sums)) * (number / (span[1] - span[0]))


@lru_cache(1024)
def _weights(first: int, last: int, bands: int = CELLS[0], number: int = _SAMPLES) -> Samples:
    """``(number, bands)`` weights of the means over equal parts of a span."""
    return np.stack([_means(row, (first, last), number) for row in np.eye(bands)], axis=1).astype(np.float32)


def _piece(body: Samples, top: float, bottom: float) -> Samples:
    """Samples of a piece of a body, with a mean of zero and a norm of one."""
    vertex = len(body) - len(_STANDING)
    samples = _means(body, (vertex + top * len(_STANDING), vertex + bottom * len(_STANDING)), _SAMPLES)
    samples -= samples.mean()
    return samples / np.linalg.norm(samples)


_BODIES = ((_STANDING, _TOPS), (_ARMS_UP, _ABOVE + _TOPS))
_CUTS = sorted(
    (
        (body, top, bottom)
        for body, (_, tops) in enumerate(_BODIES)
        for top in tops
        for bottom in _BOTTOMS
        if bottom - top >= _SHORTEST
    ),
    key=lambda cut: cut[1] > _HEAD_CUT or cut[2] < _LEGS_CUT,
)
"""A body by its number, and the first and last height of a piece of it, as shares of its height below the vertex. Those
with head and legs come first."""
_WHOLE = sum(top <= _HEAD_CUT and bottom >= _LEGS_CUT for _, top, bottom in _CUTS)
"""Number of the pieces with head and legs."""
_PIECES = np.stack([_piece(_BODIES[body][0], top, bottom) for body, top, bottom in _CUTS], axis=1).astype(np.float32)
"""``(samples, pieces)``."""
_IS_NO_TRUNK = np.array([top <= _HEAD_CUT or bottom >= _LEGS_CUT for _, top, bottom in _CUTS], np.float32)
"""0 for a trunk without head and legs. It is alike either way up: its reverse resembles nothing."""
