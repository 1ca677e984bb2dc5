"""Pairs of 1024 x 256 views, read, measured and composed by compiled code.

Each call releases the GIL once. A method returns None if its input is of another kind or its work fails. The caller
then uses numpy, which gives the same bits.
"""

import ctypes
import struct
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from bsbatch.native.files import PATHS
from bsbatch.native.library import open_library
from bsbatch.protocols import FilePart

LOADED = (1024, 256)
"""Shape of the views that `PairFunctions.load` reads."""
_MOST = 0xFFFFFFFF
CELLS = (64, 16)
"""Rows and columns of cells whose counts are summed."""

Pixels = NDArray[Any]
"""``(rows, columns)`` counts of any type of number."""
Ranges = tuple[int, int, int, int]
"""Minimum and maximum of the sums of two rows, of the anterior and of the posterior view."""


_TWO_VIEWS = struct.Struct("=4Qd4I4Qd4I")
"""``struct view_statistics`` twice. To unpack it is faster than to read the fields of a structure one by one."""
_FILES = struct.calcsize("@2P")
_INPUTS = struct.Struct("@8q4I3Pq")
_OUTPUTS = struct.Struct("@4Qd4I4Qd4Iq2I2Q6I3di0d")
"""``struct load_request``: bytes of the addresses of its files; its other inputs; its outputs."""
_NO_OUTPUTS = bytes(_OUTPUTS.size)


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


_OF_A_VIEW = len(ViewStatistics._fields)


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
        values = _TWO_VIEWS.unpack_from(self)
        return ViewStatistics(*values[:_OF_A_VIEW]), ViewStatistics(*values[_OF_A_VIEW:])


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


Frame = tuple[FilePart | bytes, int]
"""Object in a file, or its content, and offset of a view in the file or content: little-endian 16-bit integers."""


class PairRequest(NamedTuple):
    """Two views to load, see `PairFunctions.load`, and the buffers to load them into."""

    files: tuple[bytes, bytes]
    """Paths or contents."""
    inputs: bytes
    """``struct load_request`` between the addresses of the files and the outputs."""
    is_measured: bool
    buffers: tuple[Pixels, ...]
    """Kept alive."""

    @classmethod
    def of(
        cls,
        frames: tuple[Frame, Frame],
        target: NDArray[np.float32] | NDArray[np.uint16],
        limits: tuple[int, int] | None = None,
        stored: Pixels | None = None,
    ) -> Self | None:
        """Return the request to load two views; None if this machine or the buffer is of another kind.

        Parameters
        ----------
        frames
            Of the anterior and of the posterior view.
        target
            Output, ``(512, 512)``, float32 for an image, uint16 for counts.
        limits
            See `PairFunctions.measure`; None if neither statistics nor the hash are wanted.
        stored
            Output, contiguous ``(2, 1024, 256) uint16``: the pixels, the anterior view first; None if not wanted.
        """
        if sys.byteorder != "little" or not target.flags.c_contiguous:
            return None
        (front, first), (back, second) = frames
        file, size, begin, length, crc = one = _file_of(front)
        other = one if back is front else _file_of(back)
        address, is_image = _address_of(target), target.dtype == np.float32
        inputs = _INPUTS.pack(
            *(size, other[1], first, second, begin, other[2], length, other[3], crc, other[4]),
            *(_fit(limits) if limits else (0, 0)),
            0 if stored is None else _address_of(stored),
            *((address, 0) if is_image else (0, address)),
            limits is not None,
        )
        return cls((file, other[0]), inputs, limits is not None, (target,) if stored is None else (target, stored))


class Measured(NamedTuple):
    """What compiled code has measured of two views."""

    views: tuple[ViewStatistics, ViewStatistics]
    """Statistics of each view."""
    antisymmetry: int
    """See `bsbatch.imaging.quality`."""
    cells: tuple[int, int]
    """Cells of the body, and those of them that one view lacks; see `bsbatch.imaging.profiles.PairProfile`."""
    faults: tuple[int, int]
    """See `PairFunctions.judge`."""
    pixel_xxh3: str = ""
    """See `bsbatch.records.Quality`; `PairFunctions.load` finds it."""


class LoadedPair(NamedTuple):
    """Two views that `PairFunctions.load` has read."""

    measured: Measured | None
    """None without limits."""
    ranges: Ranges
    seconds: tuple[float, float, float]
    """Time spent on reading, on measuring and hashing, and on composing."""


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
        self._load.argtypes, self._load.restype = (pointer, number, pointer), None

    def load(self, requests: Sequence[PairRequest], pieces: BodyPieces) -> list[LoadedPair | None]:
        """Read pairs of views and do all that is wanted of them in one call: measure, judge, hash, compose or compact.

        Views that cannot be read, or differ from their checksum, give None: reading them in Python raises the error.

        Parameters
        ----------
        requests
            The views, and the buffers to fill.
        pieces
            See `judge`.
        """
        names = (ctypes.c_char_p * (2 * len(requests)))(*chain.from_iterable(request.files for request in requests))
        packed = _join(bytes(names), requests)
        self._load((ctypes.c_char * len(packed)).from_buffer(packed), len(requests), ctypes.byref(pieces))
        size = _FILES + _INPUTS.size + _OUTPUTS.size
        return [
            _loaded(_OUTPUTS.unpack_from(packed, end - _OUTPUTS.size), request.is_measured)
            for request, end in zip(requests, range(size, len(packed) + 1, size), strict=True)
        ]

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
        if anterior.shape != LOADED or not _is_pair(anterior, posterior) or not target.flags.c_contiguous:
            return None
        ranges = (ctypes.c_uint32 * 4)()
        is_refused = function(anterior.ctypes.data, posterior.ctypes.data, ranges, target.ctypes.data)
        return None if is_refused else (ranges[0], ranges[1], ranges[2], ranges[3])


@lru_cache(None)
def pair_functions() -> PairFunctions | None:
    """Return the functions of the installed library; None if it is absent or of another version."""
    library = open_library()
    return None if library is None else PairFunctions(library)


def _join(addresses: bytes, requests: Sequence[PairRequest]) -> bytearray:
    """Return an array of ``struct load_request``, from the addresses of all files and the rest of each request."""
    parts = zip(range(0, len(addresses), _FILES), requests, strict=True)
    return bytearray(
        b"".join([addresses[start : start + _FILES] + request.inputs + _NO_OUTPUTS for start, request in parts])
    )


def _loaded(outputs: tuple[Any, ...], is_measured: bool) -> LoadedPair | None:
    antisymmetry, body, absent, upper, lower, front, back, *others, result = outputs[2 * _OF_A_VIEW :]
    if result:
        return None
    measured = None
    if is_measured:
        views = ViewStatistics(*outputs[:_OF_A_VIEW]), ViewStatistics(*outputs[_OF_A_VIEW : 2 * _OF_A_VIEW])
        measured = Measured(views, antisymmetry, (body, absent), (front, back), f"{upper:016x}{lower:016x}")
    return LoadedPair(measured, tuple(others[:4]), tuple(others[4:]))


def _fit(limits: tuple[int, int]) -> tuple[int, int]:
    """Return limits of 32 bits."""
    return min(limits[0], _MOST), min(limits[1], _MOST)


def _file_of(part: FilePart | bytes) -> tuple[bytes, int, int, int, int]:
    """Path and -1, or content and its size; then offset, length and checksum of the object in the file."""
    if isinstance(part, bytes):
        return part, len(part), 0, -1, 0
    path, begin, length, crc = part
    return path.encode(*PATHS), -1, begin, length, crc


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
