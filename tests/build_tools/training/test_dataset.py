"""An archive as arrays: the engine's own images, each with its study; every failure is listed."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.archives import Scan, dataset_of, pixels_of, uid, write, write_mixed, write_plain

from bsbatch.errors import OutputError, UsageError
from bsbatch.imaging.preprocess import compose
from bsbatch_build.training.dataset import IMAGES, INDEX, open_dataset, read_masks


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    write_plain(tmp_path / "archive", 5)
    return tmp_path / "archive"


def test_the_images_are_those_that_the_engine_composes_for_its_model(archive: Path, tmp_path: Path) -> None:
    data = open_dataset(archive, tmp_path / "cache")
    assert data.images.shape == (5, 512, 512)
    for image, exam in zip(data.images, data.exams, strict=True):
        study = next(number for number in range(5) if uid("study", number) == exam.study_uid)
        anterior, posterior = pixels_of(Scan(study)).astype(np.float32)
        np.testing.assert_array_equal(image, compose(anterior, posterior).astype(np.float16))


def test_an_examination_without_an_image_is_listed_with_its_reason(tmp_path: Path) -> None:
    write_mixed(tmp_path / "archive", 10)
    data = open_dataset(tmp_path / "archive", tmp_path / "cache")
    assert {exam.reason for exam in data.failed} == {"truncated_pixel_data", "single_view_only"}
    assert len(data.exams) + len(data.failed) == len({*data.exams, *data.failed}) == 11


def test_a_second_time_nothing_is_read_again(archive: Path, tmp_path: Path) -> None:
    counts: list[int] = []
    first = open_dataset(archive, tmp_path / "cache", counts.append)
    assert sum(counts) == 5
    counts.clear()
    second = open_dataset(archive, tmp_path / "cache", counts.append)
    assert not counts
    assert first.exams == second.exams
    np.testing.assert_array_equal(first.images, second.images)


def test_a_changed_archive_is_read_again(archive: Path, tmp_path: Path) -> None:
    open_dataset(archive, tmp_path / "cache")
    write(dataset_of(Scan(99)), archive / "later.dcm")
    assert len(open_dataset(archive, tmp_path / "cache").exams) == 6


@pytest.mark.parametrize("rest", ["", '{"state": '])
def test_a_cache_truncated_by_a_kill_is_written_anew(archive: Path, tmp_path: Path, rest: str) -> None:
    cache = tmp_path / "cache"
    open_dataset(archive, cache)
    (cache / INDEX).write_text(rest, encoding="utf-8")
    os.truncate(cache / IMAGES, 1000)
    assert open_dataset(archive, cache).images.shape == (5, 512, 512)


def test_an_archive_without_a_bone_scan_is_refused(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "note.txt").write_text("no DICOM", encoding="utf-8")
    with pytest.raises(UsageError, match="no usable examination"):
        open_dataset(tmp_path / "archive", tmp_path / "cache")


def test_a_cache_that_cannot_be_written_stops_with_advice(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Make room or grant access"):
        open_dataset(archive, tmp_path / "file" / "cache")


def write_mask(path: Path, rows: int, columns: int, where: tuple[slice, slice]) -> None:
    mask = np.zeros((rows, columns), np.uint8)
    mask[where] = 3
    cv2.imwrite(str(path), mask)


def test_masks_are_at_the_positions_of_the_lesions_in_the_image(tmp_path: Path) -> None:
    write_mask(tmp_path / "1.2_anterior.png", 1024, 256, (slice(512, 520), slice(128, 132)))
    write_mask(tmp_path / "1.2_posterior.png", 512, 256, (slice(100, 104), slice(40, 44)))
    cells = read_masks(tmp_path, "1.2")
    assert cells is not None
    assert np.argwhere(cells).tolist() == [[25, 74], [64, 32]]


def test_a_study_without_both_masks_has_none(tmp_path: Path) -> None:
    write_mask(tmp_path / "1.2_anterior.png", 64, 64, (slice(0, 9), slice(0, 9)))
    assert read_masks(tmp_path, "1.2") is None


def test_a_mask_that_is_no_image_is_refused_by_name(tmp_path: Path) -> None:
    for view in ("anterior", "posterior"):
        (tmp_path / f"1.2_{view}.png").write_text("no PNG", encoding="utf-8")
    with pytest.raises(UsageError, match=r"1\.2_anterior\.png is no image"):
        read_masks(tmp_path, "1.2")
