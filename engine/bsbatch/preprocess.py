"""The model's input, exactly as the paper makes it; inference and training both call this.

Ibrahim et al., Cancer Imaging 2023; 23:12, "Image pre-processing": each view is resized to 256 wide x 512 high and
scaled to [0, 1] by its own minimum and maximum, and the two are put side by side. The paper does not name the
interpolation; here it is the area average where the view shrinks, which for the common 1024 x 256 matrix is the mean
of two rows and the same as bilinear.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from bsbatch.dicom.reasons import EXPLANATIONS, Reason
from bsbatch.errors import ItemError

VERSION = 1
"""Goes up whenever the same pixels would give another image; models are bound to it."""

VIEW_ROWS = 512
VIEW_COLUMNS = 256


def compose(anterior: NDArray[np.float32], posterior: NDArray[np.float32]) -> NDArray[np.float32]:
    """Make the model's input out of two views.

    Parameters
    ----------
    anterior, posterior
        ``(rows, columns)`` counts, each of its own size.

    Returns
    -------
    ``(512, 512) float32`` in [0, 1]: anterior left, posterior right.

    Raises
    ------
    ItemError
        ``all_zero`` or ``constant_image``: a view has nothing to show.
    """
    image = np.empty((VIEW_ROWS, 2 * VIEW_COLUMNS), np.float32)
    _scale(anterior, image[:, :VIEW_COLUMNS])
    _scale(posterior, image[:, VIEW_COLUMNS:])
    return image


def _scale(view: NDArray[np.float32], half: NDArray[np.float32]) -> None:
    """Fill one half of the image."""
    resized = _resized(view)
    low, high = resized.min(), resized.max()
    if low == high:
        reason = Reason.ALL_ZERO if high == 0 else Reason.CONSTANT_IMAGE
        raise ItemError(reason, EXPLANATIONS[reason])
    np.subtract(resized, low, out=half)
    np.divide(half, high - low, out=half)


def _resized(view: NDArray[np.float32]) -> NDArray[np.float32]:
    rows, columns = view.shape
    if (rows, columns) == (2 * VIEW_ROWS, VIEW_COLUMNS):  # the area average as OpenCV makes it, at a fifth of the time
        halved: NDArray[np.float32] = view[0::2] + view[1::2]
        halved *= np.float32(0.5)
        return halved
    shrinks = rows >= VIEW_ROWS and columns >= VIEW_COLUMNS
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(view, (VIEW_COLUMNS, VIEW_ROWS), interpolation=interpolation), np.float32)
