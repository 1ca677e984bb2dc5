"""How an image that is learned from is shown: which part, which way round, and as by which camera."""

from dataclasses import dataclass
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from bsbatch.geometry import VIEW_COLUMNS, VIEW_ROWS
from bsbatch_build.network.network import SIDE
from bsbatch_build.training.dataset import GRID

STRIDE = 16
"""Pixels of the image for one of block 5."""
CELL = SIDE // GRID
"""Pixels of the image for one cell of the lesions."""
_BLURRED = 0.5
"""Share of the images that `blur_some` changes."""
_SQUEEZED = VIEW_ROWS / 1024
"""Rows of the image for one of a 1024 x 256 view."""
_SHARP = 1e-3
"""Pixels of a Gaussian that changes nothing; 0 would have OpenCV choose."""
_WIDENED = 0.25
"""Share of the images in a wider field."""
_LONGEST = 1.25
"""A row of the image holds 4.8 mm of a 1024 x 256 matrix (two rows of 2.4 mm), 3.9 mm of 1024 x 512 or 512 x 256."""
_VIEWS = 2


@dataclass(frozen=True, slots=True)
class Window:
    """A square part of an image; its corner lies on a multiple of 16 pixels, as the outputs of block 5 do."""

    top: int = 0
    left: int = 0
    side: int = SIDE

    def cut(self, image: NDArray[Any], pixels: int) -> NDArray[Any]:
        """``(side, side)`` of a ``(512, 512)`` image, both by `pixels` of a grid whose cells are so many wide."""
        top, left, side = self.top // pixels, self.left // pixels, self.side // pixels
        return image[top : top + side, left : left + side]


@dataclass(frozen=True, slots=True)
class Field:
    """A wider field of view, as of a 512 x 256 matrix: the body fills fewer columns of each view, and more rows."""

    columns: int
    """Cells that the 64 of a view are squeezed into, in the middle."""
    rows: int
    """Cells that the 128 of a view are stretched over from the top; what lies beyond the 128th is cut off."""

    @classmethod
    def drawn(cls, rng: np.random.Generator, widest: float, image: NDArray[Any]) -> Self | None:
        """A field 1 to `widest` times as wide that cuts off no uptake of a ``(512, 512)`` image; None for most.

        Nothing is drawn where `widest` is 1.
        """
        if widest <= 1.0 or rng.random() >= _WIDENED:
            return None
        wide, long = rng.uniform(1.0, widest), rng.uniform(1.0, _LONGEST)
        filled = int(np.flatnonzero(image.any(axis=1))[-1]) // CELL + 1
        return cls(round(GRID // _VIEWS / wide), round(GRID * min(long, GRID / filled)))

    def show(self, image: NDArray[Any], pixels: int) -> NDArray[np.float32]:
        """A ``(512, 512)`` image, or a ``(512 / pixels, 512 / pixels)`` grid, in this field; the same shape, in [0, 1].

        Each view is the mean over what falls into a pixel, scaled to a maximum of 1 again; of a grid of lesions, every
        cell above 0 holds some of a lesion.
        """
        factor = CELL // pixels
        columns, rows = self.columns * factor, self.rows * factor
        width = image.shape[1] // _VIEWS
        start = (width - columns) // 2
        shown = np.zeros(image.shape, np.float32)
        for left in range(0, image.shape[1], width):
            view = np.ascontiguousarray(image[:, left : left + width], np.float32)
            narrow = cv2.resize(view, (columns, len(view)), interpolation=cv2.INTER_AREA)
            seen = cv2.resize(narrow, (columns, rows), interpolation=cv2.INTER_LINEAR)[: len(view)]
            shown[:, left + start : left + start + columns] = seen / (seen.max() or 1.0)
        return shown


@dataclass(frozen=True, slots=True)
class Look:
    """How one image is shown, and with it its lesions."""

    window: Window = Window()
    is_flipped: bool = False
    field: Field | None = None

    def at(self, image: NDArray[Any], pixels: int = 1) -> NDArray[Any]:
        """``(side, side)`` of a ``(512, 512)`` image, both by `pixels` of a grid whose cells are so many wide."""
        part = self.window.cut(image, pixels)
        flipped = part[:, ::-1] if self.is_flipped else part
        return flipped if self.field is None else self.field.show(flipped, pixels)


def blur_some(rng: np.random.Generator, most: float, images: NDArray[np.float32]) -> None:
    """Blur every other image in place, by up to so many pixels of its views, and scale each view to [0, 1] again."""
    for place in np.flatnonzero(rng.random(len(images)) < _BLURRED):
        pixels = rng.uniform(0.0, most)
        for left in range(0, SIDE, VIEW_COLUMNS):
            view = images[place, :, left : left + VIEW_COLUMNS]
            blurred = cv2.GaussianBlur(view, (0, 0), max(pixels, _SHARP), sigmaY=max(pixels * _SQUEEZED, _SHARP))
            view[:] = blurred / blurred.max()
