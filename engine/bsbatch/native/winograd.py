"""Chains of 3 x 3 convolutions in compiled code, by Winograd's F(4 x 4, 3 x 3) in float32.

One thread computes one image. Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, section
4. The order of summation differs from other backends, so results are equal up to rounding.
"""

import ctypes
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_ALIGNED = 64
_POINTS = 36
_KERNEL = 9


class Layer(ctypes.Structure):
    """One convolution; ``struct convolution``."""

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
    """A chain of convolutions with transformed kernels; threads may share it, each with its own workspace."""

    def __init__(
        self, library: ctypes.CDLL, layers: Sequence[tuple[Floats, Floats, bool]], rows: int, columns: int
    ) -> None:
        """Transform the kernels, which take four times as much memory then.

        Parameters
        ----------
        library
            See `bsbatch.native.library.open_library`.
        layers
            For each its kernels ``(out, in, 3, 3)``, its bias ``(out,)``, and True if 2 x 2 max pooling follows.
        rows, columns
            Of the image, which has one channel.

        Raises
        ------
        ValueError
            The compiled code does not support a size: rows and columns must be multiples of 4, also after pooling.
        """
        self._convolve = library.bsbatch_convolve
        self.lanes = int(library.bsbatch_lanes())
        """Floats in one vector register."""
        self._layers = (Layer * len(layers))()
        self._buffers: list[Floats] = []
        """Memory that the layers point to."""
        self._channels, depth = len(layers[-1][1]), 1
        for index, (kernels, bias, is_pooled) in enumerate(layers):
            padded, biases = _pad_channels(kernels, bias, depth, 2 * self.lanes)
            addresses = self._transform(library, padded), self._copy(biases)
            self._layers[index] = Layer(depth, len(biases), rows, columns, is_pooled, *addresses)
            rows, columns = (rows // 2, columns // 2) if is_pooled else (rows, columns)
            depth = len(biases)
        self._shape = depth, rows, columns
        measure = library.bsbatch_room
        measure.restype = ctypes.c_uint64
        self._size = int(measure(self._layers, ctypes.c_uint64(len(layers)), self.lanes))
        if self._size == 0:
            raise ValueError("the compiled code has no convolutions of these sizes")

    def workspace(self) -> Floats:
        """Allocate the scratch memory of one thread."""
        return _allocate(self._size)

    def features(self, image: Floats, workspace: Floats) -> Floats:
        """Compute the output of the last layer, ``(channels, rows, columns)``, for an image ``(rows, columns)``."""
        pixels, features = np.ascontiguousarray(image, np.float32), np.empty(self._shape, np.float32)
        addresses = pixels.ctypes.data, workspace.ctypes.data, features.ctypes.data
        number = ctypes.c_uint64(len(self._layers))
        self._convolve(self._layers, number, self.lanes, *map(ctypes.c_void_p, addresses))
        return features[: self._channels]

    def _transform(self, library: ctypes.CDLL, kernels: Floats) -> int:
        """Return the address of the transformed kernels."""
        width, depth = kernels.shape[:2]
        memory = self._reserve((_KERNEL if depth == 1 else _POINTS) * width * depth)
        numbers = ctypes.c_uint64(depth), ctypes.c_uint64(width), self.lanes
        library.bsbatch_arrange(ctypes.c_void_p(kernels.ctypes.data), *numbers, ctypes.c_void_p(memory.ctypes.data))
        return int(memory.ctypes.data)

    def _copy(self, values: Floats) -> int:
        """Return the address of an aligned copy."""
        memory = self._reserve(len(values))
        memory[:] = values
        return int(memory.ctypes.data)

    def _reserve(self, size: int) -> Floats:
        self._buffers.append(_allocate(size))
        return self._buffers[-1]


def _pad_channels(kernels: Floats, bias: Floats, depth: int, panel: int) -> tuple[Floats, Floats]:
    """Add channels of zeros: ``depth`` input channels, and a multiple of ``panel`` output channels."""
    width = -(-len(bias) // panel) * panel
    padded, biases = np.zeros((width, depth, *kernels.shape[2:]), np.float32), np.zeros(width, np.float32)
    padded[: len(bias), : kernels.shape[1]], biases[: len(bias)] = kernels, bias
    return padded, biases


def _allocate(size: int) -> Floats:
    """Return ``size`` uninitialised floats, aligned to 64 bytes."""
    memory = np.empty(size * 4 + _ALIGNED, np.uint8)
    start = -memory.ctypes.data % _ALIGNED
    return memory[start : start + size * 4].view(np.float32)
