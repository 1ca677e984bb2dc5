"""A chain of 3 x 3 convolutions by compiled code: Winograd's F(4 x 4, 3 x 3), float32, one image in one thread.

Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, section 4. Sums are added up in another
order than elsewhere, so results are equal but for rounding.
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_ALIGNED = 64
_POINTS = 36
_KERNEL = 9


class Layer(ctypes.Structure):
    """``struct convolution``."""

    _fields_ = (
        ("depth", ctypes.c_uint64),
        ("width", ctypes.c_uint64),
        ("rows", ctypes.c_uint64),
        ("columns", ctypes.c_uint64),
        ("is_pooled", ctypes.c_uint64),
        ("kernels", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
    )


class Convolutions:
    """Kernels as compiled code takes them; threads may share it, each with a room of its own."""

    def __init__(
        self, library: ctypes.CDLL, layers: Sequence[tuple[Floats, Floats, bool]], rows: int, columns: int
    ) -> None:
        """Arrange the kernels, which takes four times their memory.

        Parameters
        ----------
        library
            See `bsbatch.native.library.open_library`.
        layers
            For each its kernels ``(out, in, 3, 3)``, its bias ``(out,)`` and whether 2 x 2 maxima of it go on.
        rows, columns
            Of the image, which has one channel.

        Raises
        ------
        ValueError
            A size is none that the compiled code has: the image's sides, after each maximum too, are multiples of 4.
        """
        self._convolve = library.bsbatch_convolve
        self.lanes = int(library.bsbatch_lanes())
        """Floats that are computed at once."""
        self._layers = (Layer * len(layers))()
        self._kept: list[Floats] = []
        """What the layers point to."""
        self._channels, depth = len(layers[-1][1]), 1
        for place, (kernels, bias, is_pooled) in enumerate(layers):
            whole, values = _filled_up(kernels, bias, depth, 2 * self.lanes)
            arranged, kept = self._arranged(library, whole), self._keep(len(values), values)
            self._layers[place] = Layer(depth, len(values), rows, columns, is_pooled, arranged, kept)
            rows, columns = (rows // 2, columns // 2) if is_pooled else (rows, columns)
            depth = len(values)
        self._shape = depth, rows, columns
        measure = library.bsbatch_room
        measure.restype = ctypes.c_uint64
        self._size = int(measure(self._layers, ctypes.c_uint64(len(layers)), self.lanes))
        if self._size == 0:
            raise ValueError("the compiled code has no convolutions of these sizes")

    def room(self) -> Floats:
        """Memory to work in, for one thread."""
        return _aligned(self._size)

    def features(self, image: Floats, room: Floats) -> Floats:
        """Compute what the last layer gives, ``(channels, rows, columns)``, for an image ``(rows, columns)``."""
        given, features = np.ascontiguousarray(image, np.float32), np.empty(self._shape, np.float32)
        places = given.ctypes.data, room.ctypes.data, features.ctypes.data
        number = ctypes.c_uint64(len(self._layers))
        self._convolve(self._layers, number, self.lanes, *map(ctypes.c_void_p, places))
        return features[: self._channels]

    def _arranged(self, library: ctypes.CDLL, kernels: Floats) -> int:
        width, depth = kernels.shape[:2]
        place = self._keep((_KERNEL if depth == 1 else _POINTS) * width * depth)
        numbers = ctypes.c_uint64(depth), ctypes.c_uint64(width), self.lanes
        library.bsbatch_arrange(ctypes.c_void_p(kernels.ctypes.data), *numbers, ctypes.c_void_p(place))
        return place

    def _keep(self, size: int, values: Floats | None = None) -> int:
        memory = _aligned(size)
        if values is not None:
            memory[:] = values
        self._kept.append(memory)
        return int(memory.ctypes.data)


def _filled_up(kernels: Floats, bias: Floats, depth: int, panel: int) -> tuple[Floats, Floats]:
    """Channels of zeros, so that those that come in are ``depth`` and those that go out fill panels."""
    width = -(-len(bias) // panel) * panel
    whole, values = np.zeros((width, depth, *kernels.shape[2:]), np.float32), np.zeros(width, np.float32)
    whole[: len(bias), : kernels.shape[1]], values[: len(bias)] = kernels, bias
    return whole, values


def _aligned(size: int) -> Floats:
    memory: NDArray[Any] = np.empty(size * 4 + _ALIGNED, np.uint8)
    start = -memory.ctypes.data % _ALIGNED
    return memory[start : start + size * 4].view(np.float32)
