"""Position of the body in both views: which way up, from which row of the body to which, and seen by both detectors.

The rows of a view are compared with those of two bodies, one with the arms down and one with the arms up, either way
up, and with every piece of them from one height to another. A row's width is the number of columns that the body
covers; faint ones cover less. The piece that resembles the view best says which way up the body lies. A part of the
body lies outside if a piece without it explains the view clearly better than any whole body does.

Compiled code decides the same: numbers are integers, and the few others are rounded alike.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bsbatch.imaging.profiles import PairProfile
from bsbatch.native.view_pairs import CELLS, IS_CUT, IS_TURNED, BodyPieces, PairFunctions, PairStatistics

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
_MOST_WIDTH, _LARGEST, _UNIT = 4095, 16383, 4096
"""Largest width, largest sample and norm of a piece: their products fit into 32 bits."""
_LEAST_SPREAD = 100
"""Largest mean square of the widths over their variance; 5 to 7 for whole bodies. Rows of one width have no shape."""
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
_SYMMETRIC = 92
"""Correlation of widths with their reverse, per cent: left and right of a body are alike, head and feet are not."""
_SLIM, _ABRUPT = 4.2, 65
"""Height over width of a body without one of its sides, and per cent of the largest eighth in its outer one."""
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
    squareness = _squareness(shape)
    views = [_judge_view(rows, columns, squareness) for rows, columns in zip(pair.rows, pair.columns, strict=True)]
    return combine((views[0], views[1]), (pair.body_cells, pair.absent_cells), totals)


def judge_compiled(native: PairFunctions, statistics: PairStatistics, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the faults of both views with the profiles that compiled code has measured, for `combine`."""
    return native.judge(statistics, COMPILED_PIECES, _squareness(shape))


def combine(views: tuple[int, int], cells: tuple[int, int], totals: tuple[float, float]) -> Position:
    """Combine the faults of both views.

    Parameters
    ----------
    views
        Bits `IS_TURNED` and `IS_CUT` of each.
    cells
        Number of cells of the body, and of those that one view lacks.
    totals
        See `judge`.
    """
    either = views[0] | views[1]
    is_absent = not either & IS_TURNED and cells[1] > _FEW_ABSENT * cells[0]
    is_uneven = is_absent or max(totals) > _FAINTER * min(totals)
    return Position(bool(either & IS_TURNED), bool(either & IS_CUT), is_uneven)


def _squareness(shape: tuple[int, ...]) -> float:
    """Height of a band of rows over the width of a band of columns."""
    return shape[0] * CELLS[1] / (shape[1] * CELLS[0])


def _judge_view(rows: Widths, columns: Widths, squareness: float) -> int:
    """Return the bits `IS_TURNED` and `IS_CUT` of a view.

    Parameters
    ----------
    rows, columns
        Profiles of the view.
    squareness
        See `_squareness`.
    """
    height, width = _span(rows), _span(columns)
    sums = _add_parts(rows // (int(rows.max()) // _MOST_WIDTH + 1), height, _SAMPLES)
    samples = sums * _LARGEST // max(int(sums.max()), 1)
    total, square = int(samples.sum()), int(samples @ samples)
    spread = _SAMPLES * square - total * total
    if _LEAST_SPREAD * spread <= _SAMPLES * square:
        return 0
    upright, reverse = (way.astype(np.float64) @ _PIECES for way in (samples, samples[::-1]))  # exact below 2^53
    reverse[_ENDS:] = 0  # a trunk is alike either way up: its reverse resembles nothing
    gain, best = float(reverse.max() - upright.max()), float(max(upright.max(), reverse.max()))
    norm = _UNIT * math.sqrt(spread / _SAMPLES)
    if best < _LEAST_LIKENESS * norm:
        return 0
    symmetry = _SAMPLES * int(samples @ samples[::-1]) - total * total
    slimness = (height[1] - height[0]) / (width[1] - width[0]) * squareness
    if 100 * symmetry > _SYMMETRIC * spread or slimness < _LYING:
        return IS_TURNED
    eighths = _add_parts(columns, width, _EIGHTHS)
    edge = 100 * int(max(eighths[0], eighths[-1]))
    is_half = slimness > _SLIM and edge > _ABRUPT * int(eighths.max())
    is_piece = float((reverse if gain > 0 else upright)[:_WHOLE].max()) + _CUT_GAIN * norm < best
    return IS_TURNED * (gain > _GAIN * norm) | IS_CUT * (is_half or is_piece)


def _span(widths: Widths) -> tuple[int, int]:
    """Index of the first width above zero, and behind the last one; of all of them if there is none."""
    used = widths.nonzero()[0]
    return (int(used[0]), int(used[-1]) + 1) if used.size else (0, widths.size)


def _add_parts(values: Widths, span: tuple[int, int], parts: int) -> NDArray[np.int64]:
    """Sums over equal parts of a span, each value counted as often as there are parts."""
    units = np.repeat(values[slice(*span)].astype(np.int64), parts).reshape(parts, -1)
    return np.asarray(units.sum(axis=1))


def _means(values: NDArray[np.number], span: tuple[float, float], number: int) -> Samples:
    """Means over equal parts of a span."""
    sums = np.concatenate(([0.0], np.cumsum(values, dtype=np.float64)))
    edges = np.linspace(span[0], span[1], number + 1)
    return np.diff(np.interp(edges, np.arange(len(sums)), sums)) * (number / (span[1] - span[0]))


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
    key=lambda cut: (cut[1] > _HEAD_CUT) + (cut[2] < _LEGS_CUT),
)
"""A body by its number, and the first and last height of a piece of it, as shares of its height below the vertex. Those
with head and legs come first, those without either last."""
_WHOLE = sum(top <= _HEAD_CUT and bottom >= _LEGS_CUT for _, top, bottom in _CUTS)
_ENDS = sum(top <= _HEAD_CUT or bottom >= _LEGS_CUT for _, top, bottom in _CUTS)
"""Number of the pieces with head and legs, and of those with one of them at least."""
_PIECES = np.stack([np.rint(_UNIT * _piece(_BODIES[body][0], *cut)) for body, *cut in _CUTS], axis=1)
"""``(samples, pieces)`` integers."""
_STORED_PIECES = np.ascontiguousarray(_PIECES.T, np.int16)
COMPILED_PIECES = BodyPieces(_STORED_PIECES.ctypes.data, _WHOLE, _ENDS, len(_CUTS))
