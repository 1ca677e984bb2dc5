"""Composes two views into the model's input as in the paper, for inference and training.

Ibrahim et al., Cancer Imaging 2023; 23:12, "Image pre-processing": each view is resized to 256 wide x 512 high and
scaled to [0, 1] by its own minimum and maximum, and the two are placed side by side. The paper does not name the
interpolation. Here it is the area average if the view shrinks; for the common 1024 x 256 matrix this is the mean of two
rows, which equals bilinear interpolation.
"""

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import ItemError
from bsbatch.geometry import IMAGE_SHAPE, VIEW_COLUMNS, VIEW_ROWS
from bsbatch.native.view_pairs import Pixels, Ranges, pair_functions
from bsbatch.reasons import EXPLANATIONS, Reason

VERSION = 1
"""Increased if the same pixels would give another image; each model is bound to one version."""

_SATURATED = 0xFFFF
"""OpenCV's sums of 16-bit integers saturate at this value."""
_Number = TypeVar("_Number", int, np.float32, np.uint16)


def compose(anterior: NDArray[np.generic], posterior: NDArray[np.generic]) -> NDArray[np.float32]:
    """Compose the model's input from two views.

    Parameters
    ----------
    anterior, posterior
        ``(rows, columns)`` counts of any type of number, each of its own size.

    Returns
    -------
    ``(512, 512) float32`` in [0, 1]: anterior left, posterior right.

    Raises
    ------
    ItemError
        ``all_zero`` or ``constant_image``: all pixels of a view are equal.
    """
    image = np.empty(IMAGE_SHAPE, np.float32)
    native = pair_functions()
    ranges = native.compose(anterior, posterior, image) if native is not None else None
    if ranges is None:
        _scale(anterior, image[:, :VIEW_COLUMNS])
        _scale(posterior, image[:, VIEW_COLUMNS:])
    else:
        check_ranges(ranges)
    return image


def check_ranges(ranges: Ranges, scales: NDArray[np.float32] | None = None) -> None:
    """Raise the errors of `compose` and `compact` from the ranges that compiled code has found, and fill ``scales``."""
    lows, widths = ranges[::2], (_width(*ranges[:2]), _width(*ranges[2:]))
    if scales is not None:
        scales[0, 0], scales[1, 0] = lows
        scales[0, 1], scales[1, 1] = widths


def compact(
    anterior: NDArray[np.generic],
    posterior: NDArray[np.generic],
    counts: NDArray[np.uint16],
    scales: NDArray[np.float32],
) -> None:
    """Fill the buffers from which a GPU makes the same input in float16 (``cuda/kernels/normalise.cu``).

    They hold 2 bytes a pixel. A view of integers is only resized, and the GPU scales it. Any other view is scaled here.

    Parameters
    ----------
    anterior, posterior
        See `compose`.
    counts
        Output, ``(512, 512)``: integers, or the bits of float16 in [0, 1].
    scales
        Output, ``(2, 2)``: for each view its minimum, and maximum minus minimum; 0 and 0 if it is float16 already.

    Raises
    ------
    ItemError
        See `compose`.
    """
    native = pair_functions()
    ranges = native.compact(anterior, posterior, counts) if native is not None else None
    if ranges is not None:
        check_ranges(ranges, scales)
        return
    for side, view in enumerate((anterior, posterior)):
        half = counts[:, side * VIEW_COLUMNS : (side + 1) * VIEW_COLUMNS]
        resized = _resize(view)
        low, high = resized.min(), resized.max()
        width = _width(low, high)
        if resized.dtype == np.uint16:
            half[:] = resized
            scales[side] = low, width
        else:
            half[:] = ((resized - low) / np.float32(width)).astype(np.float16).view(np.uint16)
            scales[side] = 0, 0


def _scale(view: NDArray[np.generic], half: NDArray[np.float32]) -> None:
    """Resize and scale a view into one half of the image."""
    resized: Pixels = _resize(view)
    low, high = resized.min(), resized.max()
    width = np.float32(_width(low, high))
    resized -= low
    np.divide(resized, width, out=half)


def _width(low: _Number, high: _Number) -> _Number:
    """Maximum minus minimum; raise if they are equal."""
    if low == high:
        reason = Reason.ALL_ZERO if high == 0 else Reason.CONSTANT_IMAGE
        raise ItemError(reason, EXPLANATIONS[reason])
    return high - low


def _resize(view: Pixels) -> NDArray[np.float32] | NDArray[np.uint16]:
    """Resize a view to 512 x 256 as float32, or return twice that as uint16, which scales to the same bits.

    Sums of two counts and their differences are exact in both types, so both give the same quotients.
    """
    rows, columns = view.shape
    is_common = (rows, columns) == (2 * VIEW_ROWS, VIEW_COLUMNS)
    if is_common and view.dtype == np.uint16:
        summed = np.asarray(cv2.add(view[0::2], view[1::2]), np.uint16)
        if summed.max() < _SATURATED:
            return summed
    counts = view.astype(np.float32, copy=False)
    if is_common:  # equals the area average of OpenCV, in a fifth of its time
        return np.asarray((counts[0::2] + counts[1::2]) * np.float32(0.5), np.float32)
    shrinks = rows >= VIEW_ROWS and columns >= VIEW_COLUMNS
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(counts, (VIEW_COLUMNS, VIEW_ROWS), interpolation=interpolation), np.float32)
