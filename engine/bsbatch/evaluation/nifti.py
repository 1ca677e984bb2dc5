"""Lesion masks as NIfTI, one file for each view."""

import math
import zlib
from collections.abc import Mapping
from gzip import GzipFile
from io import BytesIO
from pathlib import Path
from typing import SupportsInt

import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import UsageError
from bsbatch.host import limits
from bsbatch.host.files import read_plain
from bsbatch.requirements import require

_RIGHT, _SUPERIOR = 0, 2
"""Axes of the world: +x is the patient's right, +z superior."""
_PLANE = 2
_GZIP = b"\x1f\x8b"
_LARGEST = 1 << 20
"""Largest value that is accepted as a label."""


def read_nifti(path: Path, *, is_anterior: bool) -> NDArray[np.int32]:
    """Read the mask of a view and turn it into the view's matrix: head at the top, as the camera saw the patient.

    In NIfTI-1 (nifti1.h, "3D image orientation and location in space") the first index runs fastest, +x is the
    patient's right, +y anterior and +z superior; so the world is RAS, unlike LPS in DICOM. If ``sform_code`` or
    ``qform_code`` is above 0 and the two axes of the mask run left-right and head-feet, they are turned so that row 0
    is the most superior one and column 0 is the patient's right in the anterior view, left in the posterior one.
    Otherwise the file is taken without orientation (a planar image has no position in space, and many programs write
    an identity there): the first index is the column and the second the row of the view's matrix as it is stored.

    Values are lesion numbers; values of a probability map belong to a lesion from 0.5 on.

    Returns
    -------
    ``(rows, columns)``, 0 outside lesions, else the number of the lesion.

    Raises
    ------
    UsageError
        The file cannot be read, is no plane, or holds values that are no labels.
    MissingPackageError
        nibabel is not installed.
    """
    values, axes = _load(path)
    long = [axis for axis, length in enumerate(values.shape) if length > 1]
    if len(long) != _PLANE:
        raise UsageError(f"{path} is {values.shape}, not the matrix of one view: give one file for each view")
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > _LARGEST:
        raise UsageError(
            f"{path} holds values that are no labels: give 0 outside lesions, else the number of the lesion"
        )
    labels = np.floor(values + np.float32(0.5)).astype(np.int32).squeeze()
    return _as_seen(labels, [axes[axis] for axis in long] if axes else None, is_anterior=is_anterior)


def _load(path: Path) -> tuple[NDArray[np.float32], list[tuple[float, float]] | None]:
    """Load the values of a mask and its axes, if the file gives any."""
    require("nibabel", extra="masks")
    import nibabel  # noqa: PLC0415 - optional, and `require` names its install line

    content = _content(path)
    try:
        kinds = nibabel.Nifti1Image, nibabel.Nifti2Image
        image = next(kind for kind in kinds if kind.header_class.may_contain_header(content)).from_bytes(content)
        if math.prod(image.shape) > limits.MASK_PIXELS:
            raise _too_large(path)
        values = np.asarray(image.get_fdata(dtype=np.float32))
        return values, _axes(nibabel.io_orientation(image.affine)) if _has_orientation(image.header) else None
    except UsageError:
        raise
    except Exception as error:  # nibabel passes on what numpy and its own readers raise
        raise _unreadable(path, error) from error


def _content(path: Path) -> bytes:
    """Read a file, inflated if it was packed by gzip."""
    try:
        content = read_plain(path, limits.MASK_BYTES)
        if content.startswith(_GZIP):
            content = GzipFile(fileobj=BytesIO(content)).read(limits.MASK_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from error
    if len(content) > limits.MASK_BYTES:
        raise _too_large(path)
    return content


def _unreadable(path: Path, error: Exception) -> UsageError:
    return UsageError(f"{path} cannot be read as NIfTI ({type(error).__name__}): export the mask again")


def _too_large(path: Path) -> UsageError:
    return UsageError(f"{path} is larger than the matrix of any view: give one file for each view")


def _has_orientation(header: Mapping[str, SupportsInt]) -> bool:
    """True if the file gives the axes of the patient."""
    return int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0


def _axes(orientation: NDArray[np.float64]) -> list[tuple[float, float]]:
    """List, for each index of the mask, the axis of the world that it runs along, and the direction, 1 or -1."""
    return [(axis, direction) for axis, direction in orientation.tolist()]


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
