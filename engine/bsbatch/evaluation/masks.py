"""Lesion masks of a study: PNG or NIfTI for each view, or DICOM Segmentations."""

import math
import struct
from dataclasses import dataclass
from glob import escape
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import UsageError
from bsbatch.evaluation.nifti import read_nifti
from bsbatch.evaluation.segmentation import Labels, Views, read_segmentations
from bsbatch.geometry import VIEW_COLUMNS, VIEW_ROWS
from bsbatch.host import limits
from bsbatch.host.files import read_plain

VIEWS = ("anterior", "posterior")
_NIFTI = (".nii", ".nii.gz")
_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"
"""Signature, and head of the first chunk, which begins with width and height."""
_SIZE = struct.Struct(">II")
_COVERED = 0.25
"""Smallest share of a pixel of the model's image inside a lesion that counts: half of two rows is enough."""


@dataclass(frozen=True, slots=True, eq=False)
class Lesions:
    """Lesions of a study, in the geometry of the model's image."""

    inside: NDArray[np.bool_]
    """``(512, 512)``, anterior left: True inside a lesion."""
    count: int
    """Lesions that are visible in at least one view."""
    largest: float
    """Area of the largest lesion in one view, in pixels of the model's image."""


def read_lesions(folder: Path, study_uid: str, views: Views | None = None) -> Lesions | None:
    """Read the masks of a study, of the first kind below that exists for both views.

    ``<study_uid>_anterior.png`` and ``<study_uid>_posterior.png``, 8 bits, of the view's matrix as it is stored; the
    same names with ``.nii`` or ``.nii.gz``, see `bsbatch.evaluation.nifti`; ``<study_uid>.dcm`` and
    ``<study_uid>_*.dcm``, see `bsbatch.evaluation.segmentation`. Pixels are 0 outside lesions, else the number of the
    lesion, the same in both views. With one number only, every separate patch is a lesion, and the larger count of the
    two views is taken.

    Parameters
    ----------
    folder
        Folder of the masks of all studies.
    study_uid
        (0020,000D) Study Instance UID.
    views
        Frames of the examination, to which DICOM Segmentations refer; None ignores DICOM Segmentations.

    Returns
    -------
    Lesions | None
        None if a view has no mask.

    Raises
    ------
    UsageError
        A file is not of the format that its name says.
    MissingPackageError
        A mask is NIfTI, and nibabel is not installed.
    """
    masks = _png_masks(folder, study_uid) or _nifti_masks(folder, study_uid) or _dicom_masks(folder, study_uid, views)
    return None if masks is None else _lesions_of(masks)


def _lesions_of(masks: list[Labels]) -> Lesions:
    inside = np.hstack([_share_inside(mask) >= _COVERED for mask in masks])
    numbers = set(np.concatenate([np.unique(mask) for mask in masks]).tolist()) - {0}
    if len(numbers) > 1:
        return Lesions(inside, len(numbers), max(map(_largest_area, masks)))
    patches = [_patches(mask) for mask in masks]
    return Lesions(inside, max(int(patch.max()) for patch in patches), max(map(_largest_area, patches)))


def _png_masks(folder: Path, study_uid: str) -> list[Labels] | None:
    paths = [folder / f"{study_uid}_{view}.png" for view in VIEWS]
    return [_read_png(path) for path in paths] if all(path.is_file() for path in paths) else None


def _nifti_masks(folder: Path, study_uid: str) -> list[Labels] | None:
    candidates = [[folder / f"{study_uid}_{view}{ending}" for ending in _NIFTI] for view in VIEWS]
    paths = [next((path for path in choice if path.is_file()), None) for choice in candidates]
    existing = [path for path in paths if path is not None]
    if len(existing) < len(VIEWS):
        return None
    return [read_nifti(path, is_anterior=view == VIEWS[0]) for path, view in zip(existing, VIEWS, strict=True)]


def _dicom_masks(folder: Path, study_uid: str, views: Views | None) -> list[Labels] | None:
    if views is None:
        return None
    paths = [folder / f"{study_uid}.dcm", *sorted(folder.glob(f"{escape(study_uid)}_*.dcm"))]
    masks = read_segmentations((path for path in paths if path.is_file()), views)
    return None if masks is None else list(masks)


def _read_png(path: Path) -> Labels:
    try:
        content = read_plain(path, limits.MASK_BYTES)
    except OSError as error:
        raise UsageError(f"cannot read the mask {path}: {error.strerror or error}") from error
    size = content[len(_PNG) : len(_PNG) + _SIZE.size]
    if content.startswith(_PNG) and len(size) == _SIZE.size and math.prod(_SIZE.unpack(size)) > limits.MASK_PIXELS:
        raise UsageError(f"{path} has more than {limits.MASK_PIXELS} pixels: give the matrix of one view")
    mask = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE) if content.startswith(_PNG) else None
    if mask is None:
        raise UsageError(f"{path} is no image: give masks as 8-bit PNG, 0 outside lesions")
    return np.asarray(mask, np.int32)


def _share_inside(mask: Labels) -> NDArray[np.float32]:
    marked = (mask > 0).astype(np.float32)
    return np.asarray(cv2.resize(marked, (VIEW_COLUMNS, VIEW_ROWS), interpolation=cv2.INTER_AREA), np.float32)


def _patches(mask: Labels) -> Labels:
    _, numbers = cv2.connectedComponents((mask > 0).astype(np.uint8), connectivity=8)
    return np.asarray(numbers, np.int32)


def _largest_area(mask: Labels) -> float:
    areas = np.bincount(mask.ravel())[1:]
    return float(areas.max()) * VIEW_ROWS * VIEW_COLUMNS / mask.size if areas.size else 0.0
