"""Training augmentation: crop, mirroring, wider field of view, blur."""

from dataclasses import dataclass
from typing import Self, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from bsbatch.geometry import VIEW_COLUMNS, VIEW_ROWS
from bsbatch_build.network.network import SIDE
from bsbatch_build.training.dataset import GRID

STRIDE = 16
"""Pixels of the image for each output of block 5, in both directions."""
CELL = SIDE // GRID
"""Pixels of the image for each cell of the lesion masks, in both directions."""
_BLURRED = 0.5
"""Share of the images that `blur_randomly` changes."""
_SQUEEZED = VIEW_ROWS / 1024
"""Rows of the image for each row of a 1024 x 256 view."""
_SHARP = 1e-3
"""Sigma in pixels of a Gaussian without effect; at 0 OpenCV would choose one itself."""
_WIDENED = 0.25
"""Share of the images in a wider field of view."""
_LONGEST = 1.25
"""A row of the image holds 4.8 mm of a 1024 x 256 matrix (two rows of 2.4 mm), 3.9 mm of 1024 x 512 or 512 x 256."""
_VIEWS = 2

Pixel = TypeVar("Pixel", np.float16, np.float32, np.uint8)
"""Pixels of a cached image or of a float32 image, or cells of a lesion mask."""


@dataclass(frozen=True, slots=True)
class Crop:
    """A square part of an image; its corner is on a multiple of 16 pixels, the grid of block 5."""

    top: int = 0
    left: int = 0
    side: int = SIDE

    def cut(self, image: NDArray[Pixel], pixels: int) -> NDArray[Pixel]:
        """Cut the square out of a ``(512, 512)`` image, or out of a grid with cells of `pixels` x `pixels`."""
        top, left, side = self.top // pixels, self.left // pixels, self.side // pixels
        return image[top : top + side, left : left + side]


@dataclass(frozen=True, slots=True)
class FieldOfView:
    """A wider field of view, as of a 512 x 256 matrix: the body fills fewer columns of each view, and more rows."""

    columns: int
    """Cells that the 64 columns of a view are squeezed into, in the middle."""
    rows: int
    """Cells that the 128 rows of a view are stretched over, from the top; rows beyond the 128th are cut off."""

    @classmethod
    def draw(cls, rng: np.random.Generator, widest: float, image: NDArray[Pixel]) -> Self | None:
        """Draw a field 1 to `widest` times as wide that cuts no uptake off a ``(512, 512)`` image.

        Returns None for three of four images on average. If `widest` is 1, it returns None and uses no random number.
        """
        if widest <= 1.0 or rng.random() >= _WIDENED:
            return None
        wide, long = rng.uniform(1.0, widest), rng.uniform(1.0, _LONGEST)
        filled = int(np.flatnonzero(image.any(axis=1))[-1]) // CELL + 1
        return cls(round(GRID // _VIEWS / wide), round(GRID * min(long, GRID / filled)))

    def apply(self, image: NDArray[Pixel], pixels: int) -> NDArray[np.float32]:
        """Resample a ``(512, 512)`` image, or a ``(512 / pixels, 512 / pixels)`` grid, to the same shape in [0, 1].

        A pixel is the mean over its area, and each view is scaled to a maximum of 1 again. Of a lesion mask, every
        cell above 0 holds part of a lesion.
        """
        factor = CELL // pixels
        columns, rows = self.columns * factor, self.rows * factor
        width = image.shape[1] // _VIEWS
        start = (width - columns) // 2
        resampled = np.zeros(image.shape, np.float32)
        for left in range(0, image.shape[1], width):
            view = np.ascontiguousarray(image[:, left : left + width], np.float32)
            narrow = cv2.resize(view, (columns, len(view)), interpolation=cv2.INTER_AREA)
            long = cv2.resize(narrow, (columns, rows), interpolation=cv2.INTER_LINEAR)[: len(view)]
            resampled[:, left + start : left + start + columns] = long / (long.max() or 1.0)
        return resampled


@dataclass(frozen=True, slots=True)
class Augmentation:
    """The geometric changes of one image, made alike to the image and to its lesion mask."""

    crop: Crop = Crop()
    is_flipped: bool = False
    field: FieldOfView | None = None

    def apply(self, image: NDArray[Pixel], pixels: int = 1) -> NDArray[Pixel] | NDArray[np.float32]:
        """Change a ``(512, 512)`` image, or a grid with cells of `pixels` x `pixels`; returns the size of the crop."""
        part = self.crop.cut(image, pixels)
        flipped = part[:, ::-1] if self.is_flipped else part
        return flipped if self.field is None else self.field.apply(flipped, pixels)


def blur_randomly(rng: np.random.Generator, largest: float, images: NDArray[np.float32]) -> None:
    """Blur every other image in place with a sigma of 0 to `largest` pixels of a 1024 x 256 view.

    Parameters
    ----------
    images
        ``(N, 512, 512, 3)``; each view is scaled to a maximum of 1 again.
    """
    for index in np.flatnonzero(rng.random(len(images)) < _BLURRED):
        sigma = rng.uniform(0.0, largest)
        for left in range(0, SIDE, VIEW_COLUMNS):
            view = images[index, :, left : left + VIEW_COLUMNS]
            blurred = cv2.GaussianBlur(view, (0, 0), max(sigma, _SHARP), sigmaY=max(sigma * _SQUEEZED, _SHARP))
            view[:] = blurred / blurred.max()
