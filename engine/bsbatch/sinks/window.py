"""Display of an examination: the box around the body, and one window for both views.

The window is set by the skeleton: bladder, kidneys, and hands and forearms, where the tracer is injected, are left out.
They are parts of the body's box, not segmented organs.
"""

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Pixel = TypeVar("Pixel", bound=np.generic)
Grey = NDArray[np.uint8]
"""``(rows, columns)``, 0 is black."""

_COARSE = 64, 128
"""Columns and rows in which a view is searched for the body."""
_SOFT_TISSUE, _FAINT, _SPECKLE = 80.0, 0.2, 0.02
"""As in `bsbatch.imaging.body`: percentile of soft tissue, threshold as a share of it, share of a row or column."""
_BORDER = 2
"""Coarse pixels between the body and its box."""
_NARROWEST = 24
"""Least width of a box, in coarse columns."""
_HOT = ((0.24, 0.38, 0.08, 0.5), (0.40, 0.52, 0.0, 0.3))
"""Kidneys and bladder: first and last height from the top as shares of the body's length, first and last distance from
the midline as shares of its half width."""
_ARMS = 0.6
"""Distance from the midline, as a share of the half width, from which hands and forearms are left out."""
_UPPER = 99.5
"""Percentile of the body's pixels that is black; lesions are beyond it."""


class Box(NamedTuple):
    """Part of a view, as shares of its rows and columns, in [0, 1]."""

    top: float
    bottom: float
    left: float
    right: float

    def crop(self, image: NDArray[Pixel]) -> NDArray[Pixel]:
        """Return this part of ``(rows, columns, ...)``."""
        rows, columns = image.shape[:2]
        return image[
            round(self.top * rows) : round(self.bottom * rows), round(self.left * columns) : round(self.right * columns)
        ]


WHOLE = Box(0.0, 1.0, 0.0, 1.0)


def boxes_of(views: Iterable[NDArray[np.float32]]) -> tuple[Box, Box]:
    """Find the box around the body in both views: of the same rows and of the same width.

    Parameters
    ----------
    views
        Anterior and posterior view, ``(rows, columns)`` counts or a rising function of them.
    """
    first, second = (_box_of(view) for view in views)
    top, bottom = min(first.top, second.top), max(first.bottom, second.bottom)
    width = max(_NARROWEST / _COARSE[0], first.right - first.left, second.right - second.left)
    return _widen(first, top, bottom, width), _widen(second, top, bottom, width)


def upper_level(views: Iterable[NDArray[np.float32]], boxes: Iterable[Box]) -> float:
    """Choose the counts from which on pixels of both views are black; 1 without counts.

    Parameters
    ----------
    views
        Anterior and posterior view, ``(rows, columns)`` counts.
    boxes
        Their boxes.
    """
    bones = [_bones(box.crop(view)) for view, box in zip(views, boxes, strict=True)]
    pixels = np.concatenate(bones)
    positive = pixels[pixels > 0]
    return float(np.percentile(positive, _UPPER)) if positive.size else 1.0


def inverse_grey(counts: NDArray[np.float32], level: float) -> Grey:
    """Return grey values: no counts are white, `level` counts and more are black."""
    return np.asarray(255 - np.rint(np.clip(counts, 0, level) * np.float32(255 / level)).astype(np.uint8))


def _box_of(view: NDArray[np.float32]) -> Box:
    coarse = cv2.resize(np.asarray(view, np.float32), _COARSE, interpolation=cv2.INTER_AREA)
    mask = coarse > _FAINT * np.percentile(coarse, _SOFT_TISSUE)
    rows, columns = (np.flatnonzero(mask.mean(axis=axis) > _SPECKLE) for axis in (1, 0))
    if not rows.size or not columns.size:
        return WHOLE
    ends = [
        (max(0, found[0] - _BORDER) / size, min(size, found[-1] + 1 + _BORDER) / size)
        for found, size in ((rows, 128), (columns, 64))
    ]
    return Box(*ends[0], *ends[1])


def _widen(box: Box, top: float, bottom: float, width: float) -> Box:
    left = min(max(0.0, (box.left + box.right - width) / 2), 1 - width)
    return Box(top, bottom, left, left + width)


def _bones(body: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the smoothed pixels of a body that are neither in a hot organ nor beside the trunk."""
    rows, columns = body.shape
    heights = ((np.arange(rows) + 0.5) / rows)[:, np.newaxis]
    distances = np.abs((np.arange(columns) + 0.5) / columns * 2 - 1)[np.newaxis]
    chosen = distances < _ARMS * np.ones_like(heights)
    for first, last, inner, outer in _HOT:
        chosen &= ~((heights >= first) & (heights < last) & (distances >= inner) & (distances < outer))
    return np.asarray(cv2.blur(body, (3, 3))[chosen])
