import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from bsbatch.errors import UsageError
from bsbatch.evaluation.masks import Lesions, read_lesions

ROWS, COLUMNS = 1024, 256
SIZE = slice(16, 24)
"""Width and height in a PNG file."""


def blank() -> NDArray[np.uint8]:
    return np.zeros((ROWS, COLUMNS), np.uint8)


def read(folder: Path, anterior: NDArray[np.uint8], posterior: NDArray[np.uint8] | None = None) -> Lesions:
    for view, mask in (("anterior", anterior), ("posterior", blank() if posterior is None else posterior)):
        assert cv2.imwrite(str(folder / f"1.2_{view}.png"), mask)
    lesions = read_lesions(folder, "1.2")
    assert lesions is not None
    return lesions


def test_masks_are_placed_as_the_views_in_the_image_of_the_model(tmp_path: Path) -> None:
    anterior, posterior = blank(), blank()
    anterior[200:240, 10:20], posterior[800:802, 100] = 1, 2

    inside = read(tmp_path, anterior, posterior).inside

    expected = np.zeros((512, 512), bool)
    expected[100:120, 10:20] = True
    expected[400, 256 + 100] = True
    np.testing.assert_array_equal(inside, expected)


def test_a_single_row_of_the_view_is_not_lost(tmp_path: Path) -> None:
    anterior = blank()
    anterior[301, 7] = 1

    assert np.argwhere(read(tmp_path, anterior).inside).tolist() == [[150, 7]]


def test_numbers_name_the_lesions_of_both_views(tmp_path: Path) -> None:
    anterior, posterior = blank(), blank()
    anterior[0:20, 0:20], anterior[20:30, 0:20] = 1, 2
    posterior[0:40, 0:20], posterior[100:110, 0:20] = 1, 3

    lesions = read(tmp_path, anterior, posterior)

    assert lesions.count == 3
    assert lesions.largest == 40 * 20 / 2


def test_with_one_number_every_patch_is_a_lesion_and_the_richer_view_counts(tmp_path: Path) -> None:
    anterior, posterior = blank(), blank()
    anterior[0:10, 0:10], anterior[50:70, 0:10], posterior[0:10, 0:10] = 255, 255, 255

    lesions = read(tmp_path, anterior, posterior)

    assert lesions.count == 2
    assert lesions.largest == 20 * 10 / 2


def test_masks_without_a_lesion_are_empty(tmp_path: Path) -> None:
    lesions = read(tmp_path, blank())

    assert (lesions.count, lesions.largest) == (0, 0.0)
    assert not lesions.inside.any()


def test_a_study_without_both_masks_has_none(tmp_path: Path) -> None:
    assert read_lesions(tmp_path, "1.2") is None
    assert cv2.imwrite(str(tmp_path / "1.2_anterior.png"), blank())
    assert read_lesions(tmp_path, "1.2") is None


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    read(tmp_path, blank())
    (tmp_path / "1.2_posterior.png").write_bytes(b"no image")

    with pytest.raises(UsageError, match=r"1\.2_posterior\.png is no image: give masks as 8-bit PNG"):
        read_lesions(tmp_path, "1.2")


def test_an_image_that_claims_more_pixels_than_any_view_has_is_not_decoded(tmp_path: Path) -> None:
    read(tmp_path, blank())
    path = tmp_path / "1.2_posterior.png"
    content = bytearray(path.read_bytes())
    content[SIZE] = struct.pack(">II", 30_000, 30_000)
    path.write_bytes(content)

    with pytest.raises(UsageError, match=r"1\.2_posterior\.png has more than \d+ pixels"):
        read_lesions(tmp_path, "1.2")
