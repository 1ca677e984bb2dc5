"""A chain of 3 x 3 convolutions by its definition, in float64."""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Layer = tuple[Floats, Floats, bool]
"""Kernels ``(out, in, 3, 3)``, bias ``(out,)``, and True if 2 x 2 max pooling follows."""
ROUNDING = 2e-5
"""Tolerance, relative to the largest value: Winograd's transforms have coefficients up to 8."""


def expected(layers: Sequence[Layer], image: Floats) -> NDArray[np.float64]:
    values = image.astype(np.float64)[np.newaxis]
    for kernels, bias, is_pooled in layers:
        windows = sliding_window_view(np.pad(values, ((0, 0), (1, 1), (1, 1))), (3, 3), axis=(1, 2))
        values = np.einsum("cyxij,kcij->kyx", windows, kernels.astype(np.float64), optimize=True)
        values = np.maximum(values + bias[:, np.newaxis, np.newaxis], 0)
        if is_pooled:
            channels, rows, columns = values.shape
            values = values.reshape(channels, rows // 2, 2, columns // 2, 2).max(axis=(2, 4))
    return values
