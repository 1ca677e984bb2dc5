"""Contours of heat maps and masks, as polygons in a view."""

import cv2
import numpy as np
from numpy.typing import NDArray

LEVELS = (0.3, 0.6)
"""Values of a heat map, in [0, 1], that its contours enclose."""
Polygon = NDArray[np.int32]
"""``(N, 2)`` columns and rows of its corners, in pixels; closed."""
_STEP = 0.75
"""Pixels by which a polygon may differ from the edge of the mask."""


def stretch(cells: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Stretch the half of a heat map, ``(32, 16)``, to the ``(rows, columns)`` of its view, bilinearly."""
    columns_rows = shape[1], shape[0]
    return np.asarray(cv2.resize(np.ascontiguousarray(cells), columns_rows, interpolation=cv2.INTER_LINEAR), np.float32)


def outline(mask: NDArray[np.bool_]) -> list[Polygon]:
    """Return the outlines of the patches of a mask, and those of the holes in them."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return [cv2.approxPolyDP(polygon, _STEP, closed=True)[:, 0].astype(np.int32) for polygon in found]
