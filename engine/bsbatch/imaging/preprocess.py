"""The model's input, exactly as the paper makes it; inference and training both call this.

Ibrahim et al., Cancer Imaging 2023; 23:12, "Image pre-processing": each view is resized to 256 wide x 512 high and
scaled to [0, 1] by its own minimum and maximum, and the two are put side by side. The paper does not name the
interpolation; here it is the area average where the view shrinks, which for the common 1024 x 256 matrix is the mean
of two rows and the same as bilinear.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import ItemError
from bsbatch.native.view_pairs import Ranges, pair_functions
from bsbatch.reasons import EXPLANATIONS, Reason

VERSION = 1
"""Goes up whenever the same pixels would give another image; models are bound to it."""

VIEW_ROWS = 512
VIEW_COLUMNS = 256
SHAPE = VIEW_ROWS, 2 * VIEW_COLUMNS
"""Of the model's input: rows, columns."""
_SATURATED = 0xFFFF
"""Where OpenCV's sums of 16-bit integers end."""


def compose(anterior: NDArray[np.generic], posterior: NDArray[np.generic]) -> NDArray[np.float32]:
    """Make the model's input out of two views.

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
        ``all_zero`` or ``constant_image``: a view has nothing to show.
    """
    image = np.empty(SHAPE, np.float32)
    native = pair_functions()
    ranges = native.compose(anterior, posterior, image) if native is not None else None
    if ranges is None:
        _scale(anterior, image[:, :VIEW_COLUMNS])
        _scale(posterior, image[:, VIEW_COLUMNS:])
    else:
        check_ranges(ranges)
    return image


def check_ranges(ranges: Ranges, scales: NDArray[np.float32] | None = None) -> None:
    """Raise what `compose` and `compact` raise, of views that compiled code has worked on, and fill such scales."""
    widths = _width(*ranges[:2]), _width(*ranges[2:])
    if scales is not None:
        scales[:] = (ranges[0], widths[0]), (ranges[2], widths[1])


def compact(
    anterior: NDArray[np.generic],
    posterior: NDArray[np.generic],
    counts: NDArray[np.uint16],
    scales: NDArray[np.float32],
) -> None:
    """Make what a GPU makes the same input out of, in float16 (``cuda/kernels/normalise.cu``): 2 bytes for a pixel.

    A view of integers stays as it was counted, for the GPU to scale. Another one is scaled here.

    Parameters
    ----------
    anterior, posterior
        See `compose`.
    counts
        ``(512, 512)`` to fill: integers, or the bits of float16 in [0, 1].
    scales
        ``(2, 2)`` to fill: for each view its minimum, and its maximum less that; 0 and 0 where it is float16 already.

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
        resized = _resized(view)
        low, high = resized.min(), resized.max()
        width = _width(low, high)
        if resized.dtype == np.uint16:
            half[:] = resized
            scales[side] = low, width
        else:
            half[:] = ((resized - low) / np.float32(width)).astype(np.float16).view(np.uint16)
            scales[side] = 0, 0


def _scale(view: NDArray[np.generic], half: NDArray[np.float32]) -> None:
    """Fill one half of the image."""
    resized: NDArray[Any] = _resized(view)
    low, high = resized.min(), resized.max()
    width = np.float32(_width(low, high))
    resized -= low
    np.divide(resized, width, out=half)


def _width(low: Any, high: Any) -> Any:
    """From minimum to maximum, of a view that has something to show."""
    if low == high:
        reason = Reason.ALL_ZERO if high == 0 else Reason.CONSTANT_IMAGE
        raise ItemError(reason, EXPLANATIONS[reason])
    return high - low


def _resized(view: NDArray[Any]) -> NDArray[Any]:
    """The view in the size of the model's, as float32; or twice that as 16-bit integers, which scales to the same bits.

    Sums of two counts and their differences are exact in both, and half of each has the same quotient.
    """
    rows, columns = view.shape
    is_common = (rows, columns) == (2 * VIEW_ROWS, VIEW_COLUMNS)
    if is_common and view.dtype == np.uint16:
        summed: NDArray[Any] = cv2.add(view[0::2], view[1::2])
        if summed.max() < _SATURATED:
            return summed
    counts = view.astype(np.float32, copy=False)
    if is_common:  # the area average as OpenCV makes it, at a fifth of the time
        return np.asarray((counts[0::2] + counts[1::2]) * np.float32(0.5), np.float32)
    shrinks = rows >= VIEW_ROWS and columns >= VIEW_COLUMNS
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(counts, (VIEW_COLUMNS, VIEW_ROWS), interpolation=interpolation), np.float32)
