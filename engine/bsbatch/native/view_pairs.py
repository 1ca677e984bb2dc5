"""Two views of the common kind, measured and made into an image by compiled code; one call lets go of the GIL once.

Every function says None where this is nothing for it. Then numpy does the work, and would give the same bits.
"""

import ctypes
import os
import sys
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bsbatch.native.library import open_library

_COMMON = (1024, 256)
_MOST = 0xFFFFFFFF

Pixels = NDArray[Any]
"""``(rows, columns)`` counts of any type of number."""
Ranges = tuple[int, int, int, int]
"""Least and largest sum of two rows, of the anterior and of the posterior view."""
Frame = tuple[str, int]
"""The file that holds a view, and where in it: ``(1024, 256)`` counts, little-endian integers of 16 bits."""


class ViewFigures(ctypes.Structure):
    """Of one view; ``struct view_figures``."""

    _fields_ = (
        ("total", ctypes.c_uint64),
        ("positive", ctypes.c_uint64),
        ("root_total", ctypes.c_uint64),
        ("root_squares", ctypes.c_uint64),
        ("low", ctypes.c_uint32),
        ("high", ctypes.c_uint32),
        ("lower", ctypes.c_uint32),
        ("higher", ctypes.c_uint32),
        ("saturated", ctypes.c_uint32),
        ("is_cut", ctypes.c_uint32),
    )
    total: int
    positive: int
    """Pixels above zero."""
    root_total: int
    root_squares: int
    """Sums of the roots that `bsbatch.imaging.quality` compares the views by, and of their squares."""
    low: int
    high: int
    lower: int
    higher: int
    """The two counts between which the 99th percentile of the positive ones lies; 0 where there are none."""
    saturated: int
    """Pixels that reach the view's limit."""
    is_cut: int
    """1 where the first two rows and the last two hold counts, else 0."""


class PairFigures(ctypes.Structure):
    """Of both views; ``struct pair_figures``."""

    _fields_ = (("views", ViewFigures * 2), ("antisymmetry", ctypes.c_int64))
    views: tuple[ViewFigures, ViewFigures]
    antisymmetry: int
    """See `bsbatch.imaging.quality`."""


class Order(ctypes.Structure):
    """Two views: where they lie, and where what is made of them shall go; ``struct order``, its pairs taken apart."""

    _fields_ = (
        ("front_path", ctypes.c_char_p),
        ("back_path", ctypes.c_char_p),
        ("front_offset", ctypes.c_int64),
        ("back_offset", ctypes.c_int64),
        ("front_limit", ctypes.c_uint32),
        ("back_limit", ctypes.c_uint32),
        ("pixels", ctypes.c_void_p),
        ("figures", ctypes.c_void_p),
        ("image", ctypes.c_void_p),
        ("counts", ctypes.c_void_p),
        ("ranges", ctypes.c_uint32 * 4),
        ("seconds", ctypes.c_double * 3),
    )


class Taken(NamedTuple):
    """Two views that were taken in."""

    stored: Pixels
    """``(2, 1024, 256) uint16``, the anterior view first."""
    figures: PairFigures | None
    ranges: Ranges
    seconds: tuple[float, float, float]
    """Of reading, measuring and composing."""


class Views:
    """The functions of a library."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._measure = library.bsbatch_measure
        self._compose = library.bsbatch_compose
        self._compact = library.bsbatch_compact
        self._take_in = library.bsbatch_take_in
        pointer, number = ctypes.c_void_p, ctypes.c_uint64
        self._measure.argtypes = (pointer, pointer, number, number, pointer, pointer)
        self._compose.argtypes = self._compact.argtypes = (pointer, pointer, pointer, pointer)
        self._take_in.argtypes = (pointer,)

    def take_in(
        self, frames: tuple[Frame, Frame], limits: tuple[int, int] | None, target: NDArray[Any]
    ) -> Taken | None:
        """Read two views, measure them and fill what `compose` or `compact` fill, all in one call.

        None where a file cannot be read, too: whoever reads it in steps is told why.

        Parameters
        ----------
        frames
            Of the anterior and of the posterior view.
        limits
            See `measure`; None where nobody asks for figures.
        target
            ``(512, 512)``, float32 for an image, uint16 for counts.
        """
        if sys.byteorder != "little" or not target.flags.c_contiguous:
            return None
        stored = np.empty((2, *_COMMON), np.uint16)
        figures = None if limits is None else PairFigures()
        (front, front_offset), (back, back_offset) = frames
        path, place = os.fsencode(front), target.ctypes.data
        order = Order(
            path,
            path if back == front else os.fsencode(back),
            front_offset,
            back_offset,
            *(min(limit, _MOST) for limit in limits or ()),
            pixels=stored.ctypes.data,
            figures=None if figures is None else ctypes.addressof(figures),
            image=place if target.dtype == np.float32 else None,
            counts=place if target.dtype == np.uint16 else None,
        )
        if self._take_in(ctypes.byref(order)):
            return None
        return Taken(stored, figures, tuple(order.ranges), tuple(order.seconds))

    def measure(self, anterior: Pixels, posterior: Pixels, limits: tuple[int, int]) -> PairFigures | None:
        """What tells about the quality of two views; a pixel that reaches its view's limit is saturated."""
        if not _is_pair(anterior, posterior):
            return None
        figures = PairFigures()
        lowest = (ctypes.c_uint32 * 2)(*(min(limit, _MOST) for limit in limits))
        places = anterior.ctypes.data, posterior.ctypes.data
        refused = self._measure(*places, *anterior.shape, lowest, ctypes.byref(figures))
        return None if refused else figures

    def compose(self, anterior: Pixels, posterior: Pixels, image: NDArray[np.float32]) -> Ranges | None:
        """Fill a ``(512, 512)`` image, or tell by a range without a width that a view has nothing to show."""
        return self._fill(self._compose, anterior, posterior, image)

    def compact(self, anterior: Pixels, posterior: Pixels, counts: NDArray[np.uint16]) -> Ranges | None:
        """Fill ``(512, 512)`` sums of two rows, where 16 bits hold them."""
        return self._fill(self._compact, anterior, posterior, counts)

    def _fill(self, function: Any, anterior: Pixels, posterior: Pixels, target: Pixels) -> Ranges | None:
        if anterior.shape != _COMMON or not _is_pair(anterior, posterior) or not target.flags.c_contiguous:
            return None
        ranges = (ctypes.c_uint32 * 4)()
        refused = function(anterior.ctypes.data, posterior.ctypes.data, ranges, target.ctypes.data)
        return None if refused else (ranges[0], ranges[1], ranges[2], ranges[3])


@lru_cache(None)
def compiled() -> Views | None:
    """The compiled part; None where there is none."""
    library = open_library()
    return None if library is None else Views(library)


def _is_pair(anterior: Pixels, posterior: Pixels) -> bool:
    """Whether both are 16-bit integers of this machine, row by row, and of one size."""
    return (
        anterior.dtype == posterior.dtype == np.uint16
        and anterior.shape == posterior.shape
        and anterior.flags.c_contiguous
        and posterior.flags.c_contiguous
    )
