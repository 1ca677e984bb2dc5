"""Reads lesions out of NIfTI files, one for each view."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import UsageError
from bsbatch.registry import MASKS

_RIGHT, _SUPERIOR = 0, 2
"""Axes of the world: +x is the patient's right, +z superior."""
_PLANE = 2
_LARGEST = 1 << 20
"""Labels beyond it are no labels."""


def read_nifti(path: Path, *, is_anterior: bool) -> NDArray[np.int32]:
    """Read the mask of a view, brought into the view's matrix: head at the top, as the camera saw the patient.

    In NIfTI-1 (nifti1.h, "3D image orientation and location in space") the first index runs fastest, +x is the
    patient's right, +y anterior and +z superior; so the world is RAS, where that of DICOM is LPS. Where ``sform_code``
    or ``qform_code`` is above 0 and the two axes of the mask run left-right and head-feet, they are turned so that row
    0 is the most superior one and column 0 is the patient's right in the anterior view, left in the posterior one.
    Otherwise the file says nothing of the patient (a planar image has no place in space, and many programs write an
    identity there): the first index is the column and the second the row of the view's matrix as it is stored.

    Values are lesion numbers; those of a probability map belong to a lesion from 0.5 on.

    Returns
    -------
    ``(rows, columns)``, 0 where no lesion is, else its number.

    Raises
    ------
    UsageError
        It cannot be read, is no plane, or holds what is no label.
    MissingPackageError
        nibabel is not installed.
    """
    load = MASKS["nifti"].load()
    try:
        image = load(path)
        values = np.asarray(image.get_fdata(dtype=np.float32))
        axes = _axes(image)
    except Exception as error:  # nibabel passes on what gzip, zlib, numpy and its own readers raise
        raise UsageError(f"{path} cannot be read as NIfTI ({type(error).__name__}): export the mask again") from error
    long = [axis for axis, length in enumerate(values.shape) if length > 1]
    if len(long) != _PLANE:
        raise UsageError(f"{path} is {values.shape}, not the matrix of one view: give one file for each view")
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > _LARGEST:
        raise UsageError(f"{path} holds values that are no labels: give 0 where no lesion is, else its number")
    labels = np.floor(values + np.float32(0.5)).astype(np.int32).squeeze()
    return _as_seen(labels, [axes[axis] for axis in long] if axes else None, is_anterior=is_anterior)


def _axes(image: Any) -> list[tuple[float, float]] | None:
    """For each index the axis of the world that it runs along, and in which direction; None where nothing is said."""
    header = image.header
    if int(header["sform_code"]) <= 0 and int(header["qform_code"]) <= 0:
        return None
    orientation = MASKS["orientation"].load()(image.affine)
    return [(float(axis), float(direction)) for axis, direction in orientation]


def _as_seen(
    labels: NDArray[np.int32], axes: list[tuple[float, float]] | None, *, is_anterior: bool
) -> NDArray[np.int32]:
    if axes is None or {axis for axis, _ in axes} != {_RIGHT, _SUPERIOR}:
        return labels.T
    directions = dict(axes)
    rows = labels.T if axes[0][0] == _RIGHT else labels
    if directions[_SUPERIOR] > 0:
        rows = rows[::-1]
    runs_to_the_right = directions[_RIGHT] > 0
    return rows[:, ::-1] if runs_to_the_right == is_anterior else rows
