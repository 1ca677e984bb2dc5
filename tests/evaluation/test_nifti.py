"""Lesions out of NIfTI files, written by nibabel with every orientation that a mask may have."""

import gzip
import itertools
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from bsbatch.errors import MissingPackageError, UsageError
from bsbatch.evaluation.masks import read_lesions
from bsbatch.evaluation.nifti import read_nifti
from bsbatch.host import limits

ROWS, COLUMNS = 64, 16


def seen(value: float = 3) -> NDArray[np.float32]:
    """A view's matrix: a lesion near the top, at the left of the image."""
    mask = np.zeros((ROWS, COLUMNS), np.float32)
    mask[8:12, 2:5] = value
    return mask


def save(path: Path, values: NDArray[np.float32], affine: NDArray[np.float64] | None) -> Path:
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return path


@pytest.mark.parametrize("is_anterior", [True, False])
@pytest.mark.parametrize(("up", "right"), list(itertools.product([1, -1], [1, -1])))
@pytest.mark.parametrize("shape", ["columns first", "rows first", "with an axis between"])
def test_axes_of_the_patient_are_turned_to_what_the_camera_saw(
    shape: str, up: int, right: int, tmp_path: Path, *, is_anterior: bool
) -> None:
    """Each world coordinate is worked out pixel by pixel: z falls down the rows, x from right to left in front."""
    across = -1 if is_anterior else 1
    stored = seen()[:: 1 if up < 0 else -1, :: 1 if right == across else -1]
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    columns, rows, rest = {"columns first": (0, 1, 2), "rows first": (1, 0, 2), "with an axis between": (0, 2, 1)}[
        shape
    ]
    affine[0, columns], affine[2, rows], affine[1, rest] = right * 2.2, up * 2.2, 1
    values = np.zeros([{columns: COLUMNS, rows: ROWS, rest: 1}[axis] for axis in range(3)], np.float32)
    np.moveaxis(values, (rows, columns, rest), (0, 1, 2))[:, :, 0] = stored

    found = read_nifti(save(tmp_path / "a.nii.gz", values, affine), is_anterior=is_anterior)

    np.testing.assert_array_equal(found, seen())


@pytest.mark.parametrize("affine", [None, np.eye(4), np.diag([-1, -1, 1, 1])], ids=["none", "RAS", "LPS"])
def test_a_file_without_orientation_is_the_matrix_as_it_is_stored(
    affine: NDArray[np.float64] | None, tmp_path: Path
) -> None:
    path = save(tmp_path / "a.nii", np.ascontiguousarray(seen().T)[:, :, np.newaxis], affine)

    np.testing.assert_array_equal(read_nifti(path, is_anterior=False), seen())


@pytest.mark.parametrize(("value", "label"), [(0.49, 0), (0.5, 1), (1.0, 1), (2.0, 2)])
def test_probabilities_belong_to_a_lesion_from_one_half_on(value: float, label: int, tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", seen(value).T, None)

    assert read_nifti(path, is_anterior=True).max() == label


def test_a_study_has_one_file_for_each_view(tmp_path: Path) -> None:
    save(tmp_path / "1.5_anterior.nii.gz", seen(1).T, None)
    assert read_lesions(tmp_path, "1.5") is None
    save(tmp_path / "1.5_posterior.nii", seen(2).T, None)

    lesions = read_lesions(tmp_path, "1.5")

    assert lesions is not None
    assert lesions.count == 2
    assert lesions.inside[64:96, 32:80].all()
    assert lesions.inside.sum() == 2 * 32 * 48


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((4, 5, 6), np.float32), r"is \(4, 5, 6\), not the matrix of one view"),
        (np.full((4, 5), -1, np.float32), "no labels"),
        (np.full((4, 5), np.nan, np.float32), "no labels"),
    ],
    ids=["a volume", "negative", "no number"],
)
def test_values_that_are_no_mask_are_refused(values: NDArray[np.float32], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        read_nifti(save(tmp_path / "a.nii", values, np.eye(4)), is_anterior=True)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_file_that_is_no_nifti_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"no image" * 100)

    with pytest.raises(UsageError, match=rf"{name} cannot be read as NIfTI"):
        read_nifti(tmp_path / name, is_anterior=True)


def test_a_missing_package_is_named_with_its_install_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.nii", seen().T, None)
    monkeypatch.setitem(sys.modules, "nibabel", None)
    monkeypatch.setattr("bsbatch.requirements.find_spec", lambda _: None)

    with pytest.raises(MissingPackageError, match=r'nibabel is not installed: pip install "bsbatch\[masks\]"'):
        read_nifti(path, is_anterior=True)


def test_a_file_that_is_inflated_beyond_the_matrix_of_any_view_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MASK_BYTES", 1 << 20)
    path = tmp_path / "a.nii.gz"
    with gzip.open(path, "wb", 1) as stream:
        stream.write(nibabel.Nifti1Image(np.zeros((4, 4), np.uint8), None).to_bytes())
        stream.write(bytes(limits.MASK_BYTES))

    with pytest.raises(UsageError, match="larger than the matrix of any view"):
        read_nifti(path, is_anterior=True)


def test_a_header_that_claims_more_pixels_than_any_view_has_is_refused(tmp_path: Path) -> None:
    header = nibabel.Nifti1Header()
    header.set_data_shape((30_000, 30_000))
    header.set_data_dtype(np.uint8)
    (tmp_path / "a.nii").write_bytes(header.binaryblock + bytes(1000))

    with pytest.raises(UsageError, match="larger than the matrix of any view"):
        read_nifti(tmp_path / "a.nii", is_anterior=True)
