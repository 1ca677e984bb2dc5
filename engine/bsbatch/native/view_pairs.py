"""Pairs of 1024 x 256 views, read, measured and composed by compiled code.

A call releases the GIL once. A method returns None if its input is of another kind or its work fails. The caller then
uses numpy, which gives the same bits.
"""

import ctypes
import os
import struct
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bsbatch.native.library import open_library
from bsbatch.protocols import FilePart

_COMMON = (1024, 256)
_MOST = 0xFFFFFFFF
CELLS = (64, 16)
"""Rows and columns of cells whose counts are summed."""

Pixels = NDArray[Any]
"""``(rows, columns)`` counts of any type of number."""
Ranges = tuple[int, int, int, int]
"""Minimum and maximum of the sums of two rows, of the anterior and of the posterior view."""


_TWO_VIEWS = struct.Struct("=4Qd4I4Qd4I")
"""``struct view_statistics`` twice. To unpack it is faster than to read the fields of a structure one by one."""
_RESULTS = struct.Struct("=4I3d")
"""Ranges and seconds of a `LoadRequest`."""


class ViewStatistics(NamedTuple):
    """Statistics of one view."""

    total: int
    positive: int
    """Pixels above zero."""
    root_total: int
    root_squares: int
    """Sums of the square roots by which `bsbatch.imaging.quality` compares the views, and of the squares of those."""
    hotspot_ratio: float
    """Maximum over the 99th percentile of the positive pixels; 0 if no pixel is positive."""
    low: int
    high: int
    saturated: int
    """Pixels that reach the view's limit."""
    missing_rows: int
    """See `bsbatch.imaging.profiles.count_missing`."""


class PairStatistics(ctypes.Structure):
    """Statistics of both views; ``struct pair_statistics``."""

    _fields_ = (
        ("two_views", ctypes.c_uint64 * (_TWO_VIEWS.size // 8)),
        ("antisymmetry", ctypes.c_int64),
        ("profiles", ctypes.c_uint32 * (2 * sum(CELLS))),
        ("body_cells", ctypes.c_uint32),
        ("absent_cells", ctypes.c_uint32),
    )
    antisymmetry: int
    """See `bsbatch.imaging.quality`."""
    profiles: "ctypes.Array[ctypes.c_uint32]"
    """Of each view the widths of the body in its bands of rows, then in its bands of columns."""
    body_cells: int
    absent_cells: int
    """See `bsbatch.imaging.profiles.PairProfile`."""

    @property
    def views(self) -> tuple[ViewStatistics, ViewStatistics]:
        """Of the anterior and of the posterior view."""
        values, half = _TWO_VIEWS.unpack_from(self), len(ViewStatistics._fields)
        return ViewStatistics._make(values[:half]), ViewStatistics._make(values[half:])


class BodyPieces(ctypes.Structure):
    """Pieces of a body, see `bsbatch.imaging.position`; ``struct body_pieces``."""

    _fields_ = (
        ("samples", ctypes.c_void_p),
        ("whole", ctypes.c_uint32),
        ("ends", ctypes.c_uint32),
        ("number", ctypes.c_uint32),
    )


IS_TURNED, IS_CUT = 1, 2
"""Bits of what `PairFunctions.judge` finds."""


_JUDGE = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_double, ctypes.c_void_p)
"""``bsbatch_judge``, which takes three microseconds: it keeps the GIL, for to get it back might take longer."""


class LoadRequest(ctypes.Structure):
    """Files, limits and output buffers of two views; ``struct load_request`` with its pairs as single fields."""

    _fields_ = (
        ("front", ctypes.c_char_p),
        ("back", ctypes.c_char_p),
        ("front_size", ctypes.c_int64),
        ("back_size", ctypes.c_int64),
        ("front_offset", ctypes.c_int64),
        ("back_offset", ctypes.c_int64),
        ("front_begin", ctypes.c_int64),
        ("back_begin", ctypes.c_int64),
        ("front_length", ctypes.c_int64),
        ("back_length", ctypes.c_int64),
        ("front_crc", ctypes.c_uint32),
        ("back_crc", ctypes.c_uint32),
        ("front_limit", ctypes.c_uint32),
        ("back_limit", ctypes.c_uint32),
        ("pixels", ctypes.c_void_p),
        ("statistics", ctypes.c_void_p),
        ("image", ctypes.c_void_p),
        ("counts", ctypes.c_void_p),
        ("ranges", ctypes.c_uint32 * 4),
        ("seconds", ctypes.c_double * 3),
    )


Frame = tuple[FilePart | bytes, int]
"""Object in a file, or its content, and offset of a view in the file or content: little-endian 16-bit integers."""


class LoadedPair(NamedTuple):
    """Pixels and statistics of two views that `PairFunctions.load` has read."""

    stored: Pixels
    """``(2, 1024, 256) uint16``, the anterior view first."""
    statistics: PairStatistics | None
    ranges: Ranges
    seconds: tuple[float, float, float]
    """Time spent on reading, measuring and composing."""


class PairFunctions:
    """The functions of the compiled library that work on two views."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._measure = library.bsbatch_measure
        self._compose = library.bsbatch_compose
        self._compact = library.bsbatch_compact
        self._load = library.bsbatch_take_in
        address = ctypes.cast(library.bsbatch_judge, ctypes.c_void_p).value
        self._judge = _JUDGE(address or 0)
        pointer, number = ctypes.c_void_p, ctypes.c_uint64
        self._measure.argtypes = (pointer, pointer, number, number, pointer, pointer)
        self._compose.argtypes = self._compact.argtypes = (pointer, pointer, pointer, pointer)
        self._load.argtypes = (pointer,)

    def load(
        self,
        frames: tuple[Frame, Frame],
        limits: tuple[int, int] | None,
        target: NDArray[np.float32] | NDArray[np.uint16],
    ) -> LoadedPair | None:
        """Read two views, measure them and fill ``target`` as `compose` or `compact` does, in one call.

        Return None also if a file cannot be read, or a checksum differs: reading it in Python then raises the error.

        Parameters
        ----------
        frames
            Of the anterior and of the posterior view.
        limits
            See `measure`; None if no statistics are wanted.
        target
            ``(512, 512)``, float32 for an image, uint16 for counts.
        """
        if sys.byteorder != "little" or not target.flags.c_contiguous:
            return None
        stored = np.empty((2, *_COMMON), np.uint16)
        statistics = None if limits is None else PairStatistics()
        (front, front_offset), (back, back_offset) = frames
        file, size, begin, length, crc = _file_of(front)
        other = (file, size, begin, length, crc) if back is front else _file_of(back)
        address, is_image = _address_of(target), target.dtype == np.float32
        request = LoadRequest(
            file,
            other[0],
            size,
            other[1],
            front_offset,
            back_offset,
            begin,
            other[2],
            length,
            other[3],
            crc,
            other[4],
            *(_fit(limits) if limits else (0, 0)),
            _address_of(stored),
            None if statistics is None else ctypes.addressof(statistics),
            address if is_image else None,
            None if is_image else address,
        )
        if self._load(ctypes.byref(request)):
            return None
        results = _RESULTS.unpack_from(request, LoadRequest.ranges.offset)
        return LoadedPair(stored, statistics, results[:4], results[4:])

    def measure(self, anterior: Pixels, posterior: Pixels, limits: tuple[int, int]) -> PairStatistics | None:
        """Compute the statistics of two views.

        Parameters
        ----------
        anterior, posterior
            ``(rows, columns) uint16`` counts.
        limits
            For each view the value from which on a pixel is saturated.
        """
        if not _is_pair(anterior, posterior):
            return None
        statistics = PairStatistics()
        lowest = (ctypes.c_uint32 * 2)(*_fit(limits))
        addresses = anterior.ctypes.data, posterior.ctypes.data
        is_refused = self._measure(*addresses, *anterior.shape, lowest, ctypes.byref(statistics))
        return None if is_refused else statistics

    def judge(self, statistics: PairStatistics, pieces: BodyPieces, squareness: float) -> tuple[int, int]:
        """Return `IS_TURNED` and `IS_CUT` of the anterior and of the posterior view.

        Parameters
        ----------
        statistics
            Of `measure` or `load`.
        pieces
            Of the bodies to compare with.
        squareness
            Height of a band of rows over the width of a band of columns.
        """
        found = (ctypes.c_uint32 * 2)()
        self._judge(ctypes.byref(statistics), ctypes.byref(pieces), squareness, found)
        return found[0], found[1]

    def compose(self, anterior: Pixels, posterior: Pixels, image: NDArray[np.float32]) -> Ranges | None:
        """Fill a ``(512, 512)`` image, unless a view is constant: its minimum and maximum are then equal."""
        return self._fill(self._compose, anterior, posterior, image)

    def compact(self, anterior: Pixels, posterior: Pixels, counts: NDArray[np.uint16]) -> Ranges | None:
        """Fill ``(512, 512)`` sums of two rows, if 16 bits hold them."""
        return self._fill(self._compact, anterior, posterior, counts)

    def _fill(self, function: Callable[..., int], anterior: Pixels, posterior: Pixels, target: Pixels) -> Ranges | None:
        if anterior.shape != _COMMON or not _is_pair(anterior, posterior) or not target.flags.c_contiguous:
            return None
        ranges = (ctypes.c_uint32 * 4)()
        is_refused = function(anterior.ctypes.data, posterior.ctypes.data, ranges, target.ctypes.data)
        return None if is_refused else (ranges[0], ranges[1], ranges[2], ranges[3])


@lru_cache(None)
def pair_functions() -> PairFunctions | None:
    """Return the functions of the installed library; None if it is absent or of another version."""
    library = open_library()
    return None if library is None else PairFunctions(library)


def _fit(limits: tuple[int, int]) -> tuple[int, int]:
    """Return limits of 32 bits."""
    return min(limits[0], _MOST), min(limits[1], _MOST)


def _file_of(part: FilePart | bytes) -> tuple[bytes, int, int, int, int]:
    """Path and -1, or content and its size; then offset, length and checksum of the object in the file."""
    if isinstance(part, bytes):
        return part, len(part), 0, -1, 0
    path, begin, length, crc = part
    return os.fsencode(path), -1, begin, length, crc


def _address_of(array: Pixels) -> int:
    """Return what ``array.ctypes.data`` is, for a contiguous array that may be written to, in a quarter of the time."""
    return ctypes.addressof(ctypes.c_char.from_buffer(array.data))


def _is_pair(anterior: Pixels, posterior: Pixels) -> bool:
    """True if both are contiguous, native 16-bit unsigned integers of one shape."""
    return (
        anterior.dtype == posterior.dtype == np.uint16
        and anterior.shape == posterior.shape
        and anterior.flags.c_contiguous
        and posterior.flags.c_contiguous
    )
