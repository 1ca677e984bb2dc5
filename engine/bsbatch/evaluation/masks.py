"""Reads where lesions are known to be: one PNG for each view of a study."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import UsageError
from bsbatch.preprocess import VIEW_COLUMNS, VIEW_ROWS

VIEWS = ("anterior", "posterior")
_COVERED = 0.25
"""A pixel of the model's image belongs to a lesion from this share on: half of two rows is enough."""


@dataclass(frozen=True, slots=True, eq=False)
class Lesions:
    """The lesions of a study, in the geometry of the model's image."""

    inside: NDArray[np.bool_]
    """``(512, 512)``, anterior left: whether a pixel belongs to a lesion."""
    count: int
    """Lesions that one view or both show."""
    largest: float
    """Pixels of the model's image that the largest lesion takes in one view."""


def read_lesions(folder: Path, study_uid: str) -> Lesions | None:
    """Read ``<study_uid>_anterior.png`` and ``<study_uid>_posterior.png``, 8 bits, of the view's matrix.

    0 where no lesion is, else the number of the lesion, the same in both views. Where there is one number alone, every
    separate patch is a lesion, and the view that has more of them counts.

    Returns
    -------
    Lesions | None
        None where a view has no mask.

    Raises
    ------
    UsageError
        A file is no image.
    """
    paths = [folder / f"{study_uid}_{view}.png" for view in VIEWS]
    if not all(path.is_file() for path in paths):
        return None
    masks = [_read(path) for path in paths]
    inside = np.hstack([_shrunk(mask) >= _COVERED for mask in masks])
    names = set(np.concatenate([np.unique(mask) for mask in masks]).tolist()) - {0}
    if len(names) > 1:
        return Lesions(inside, len(names), max(map(_largest, masks)))
    patches = [_patches(mask) for mask in masks]
    return Lesions(inside, max(int(patch.max()) for patch in patches), max(map(_largest, patches)))


def _read(path: Path) -> NDArray[np.uint8]:
    mask: Any = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise UsageError(f"{path} is no image: give masks as 8-bit PNG, 0 where no lesion is")
    return np.asarray(mask, np.uint8)


def _shrunk(mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    marked = (mask > 0).astype(np.float32)
    return np.asarray(cv2.resize(marked, (VIEW_COLUMNS, VIEW_ROWS), interpolation=cv2.INTER_AREA), np.float32)


def _patches(mask: NDArray[np.uint8]) -> NDArray[np.int32]:
    _, numbers = cv2.connectedComponents((mask > 0).astype(np.uint8), connectivity=8)
    return np.asarray(numbers, np.int32)


def _largest(mask: NDArray[Any]) -> float:
    areas = np.bincount(mask.ravel())[1:]
    return float(areas.max()) * VIEW_ROWS * VIEW_COLUMNS / mask.size if areas.size else 0.0
