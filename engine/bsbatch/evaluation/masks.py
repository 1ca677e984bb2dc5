"""Reads where lesions are known to be: PNG or NIfTI for each view of a study, or DICOM Segmentations of it."""

from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import UsageError
from bsbatch.evaluation.nifti import read_nifti
from bsbatch.evaluation.segmentation import Views, read_segmentations
from bsbatch.geometry import VIEW_COLUMNS, VIEW_ROWS

VIEWS = ("anterior", "posterior")
_NIFTI = (".nii", ".nii.gz")
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


def read_lesions(folder: Path, study_uid: str, views: Views | None = None) -> Lesions | None:
    """Read the masks of a study, of the first kind that is there for both views.

    ``<study_uid>_anterior.png`` and ``<study_uid>_posterior.png``, 8 bits, of the view's matrix as it is stored; the
    same names with ``.nii`` or ``.nii.gz``, see `bsbatch.evaluation.nifti`; ``<study_uid>.dcm`` and
    ``<study_uid>_*.dcm``, see `bsbatch.evaluation.segmentation`. 0 where no lesion is, else the number of the lesion,
    the same in both views. Where there is one number alone, every separate patch is a lesion, and the view that has
    more of them counts.

    Parameters
    ----------
    folder
        Holds the masks of all studies.
    study_uid
        (0020,000D) Study Instance UID.
    views
        The frames of the examination, which DICOM Segmentations refer to; without them these are left alone.

    Returns
    -------
    Lesions | None
        None where a view has no mask.

    Raises
    ------
    UsageError
        A file is not what its name says.
    MissingPackageError
        There is NIfTI, and nibabel is not installed.
    """
    masks = _png_masks(folder, study_uid) or _nifti_masks(folder, study_uid) or _dicom_masks(folder, study_uid, views)
    return None if masks is None else _lesions_of(masks)


def _lesions_of(masks: list[NDArray[Any]]) -> Lesions:
    inside = np.hstack([_shrunk(mask) >= _COVERED for mask in masks])
    names = set(np.concatenate([np.unique(mask) for mask in masks]).tolist()) - {0}
    if len(names) > 1:
        return Lesions(inside, len(names), max(map(_largest, masks)))
    patches = [_patches(mask) for mask in masks]
    return Lesions(inside, max(int(patch.max()) for patch in patches), max(map(_largest, patches)))


def _png_masks(folder: Path, study_uid: str) -> list[NDArray[Any]] | None:
    paths = [folder / f"{study_uid}_{view}.png" for view in VIEWS]
    return [_read(path) for path in paths] if all(path.is_file() for path in paths) else None


def _nifti_masks(folder: Path, study_uid: str) -> list[NDArray[Any]] | None:
    named = [[folder / f"{study_uid}_{view}{ending}" for ending in _NIFTI] for view in VIEWS]
    paths = [next((path for path in choice if path.is_file()), None) for choice in named]
    found = [path for path in paths if path is not None]
    if len(found) < len(VIEWS):
        return None
    return [read_nifti(path, is_anterior=view == VIEWS[0]) for path, view in zip(found, VIEWS, strict=True)]


def _dicom_masks(folder: Path, study_uid: str, views: Views | None) -> list[NDArray[Any]] | None:
    if views is None:
        return None
    paths = [folder / f"{study_uid}.dcm", *sorted(folder.glob(f"{escape(study_uid)}_*.dcm"))]
    masks = read_segmentations((path for path in paths if path.is_file()), views)
    return None if masks is None else list(masks)


def _read(path: Path) -> NDArray[np.uint8]:
    mask: Any = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise UsageError(f"{path} is no image: give masks as 8-bit PNG, 0 where no lesion is")
    return np.asarray(mask, np.uint8)


def _shrunk(mask: NDArray[Any]) -> NDArray[np.float32]:
    marked = (mask > 0).astype(np.float32)
    return np.asarray(cv2.resize(marked, (VIEW_COLUMNS, VIEW_ROWS), interpolation=cv2.INTER_AREA), np.float32)


def _patches(mask: NDArray[Any]) -> NDArray[np.int32]:
    _, numbers = cv2.connectedComponents((mask > 0).astype(np.uint8), connectivity=8)
    return np.asarray(numbers, np.int32)


def _largest(mask: NDArray[Any]) -> float:
    areas = np.bincount(mask.ravel())[1:]
    return float(areas.max()) * VIEW_ROWS * VIEW_COLUMNS / mask.size if areas.size else 0.0
