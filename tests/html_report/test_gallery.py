import base64
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.end_to_end.tables import results

from bsbatch.errors import OutputError
from bsbatch.html_report.gallery import Picture, pictures_of
from bsbatch.store.parts import write_part
from bsbatch.store.tables import RESULTS, to_table

EXAM = "0" * 32
BODY = slice(100, 900), slice(64, 192)
"""Rows and columns of the body in each view of 1024 x 256."""


def no_lesions(_: str) -> None:
    return None


def pixels(picture: Picture) -> NDArray[Any]:
    content = base64.b64decode(picture.scan.partition(",")[2])
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    return np.asarray(image)


def corners(path: str) -> NDArray[np.float64]:
    return np.array([list(map(int, pair)) for pair in re.findall(r"(\d+) (\d+)", path)], float)


def write_run(out: Path, cells: NDArray[np.float32]) -> Path:
    """One examination: a grey body in both views, and a heat map."""
    scan = np.full((1024, 512), 255, np.uint8)
    scan[BODY[0], 64:192] = scan[BODY[0], 320:448] = 100
    (out / "scans").mkdir(parents=True)
    cv2.imwrite(str(out / f"scans/{EXAM}.jpg"), scan)
    row = {"exam_id": EXAM, "status": "ok", "p_metastasis": 0.9, "cam_map": cells.ravel().tolist(), "config_hash": "c"}
    (out / RESULTS).mkdir()
    write_part(out / RESULTS, 0, to_table(RESULTS, [row], "c", has_maps=True))
    return out


def spot(row: int, column: int) -> NDArray[np.float32]:
    cells = np.zeros((32, 32), np.float32)
    cells[row, column] = 1
    return cells


def test_the_first_in_rank_that_have_an_image_are_taken(screened: Path) -> None:
    ranked = [row["exam_id"] for row in results(screened)]
    have = {path.stem for path in (screened / "scans").iterdir()}

    pictures = pictures_of(screened, [EXAM, *ranked], 5, no_lesions)

    assert [picture.exam_id for picture in pictures] == [name for name in ranked if name in have][:5]
    assert all(picture.contours[0] for picture in pictures)


def test_the_picture_is_the_body_of_both_views_below_room_for_their_names(tmp_path: Path) -> None:
    (picture,) = pictures_of(write_run(tmp_path, spot(10, 8)), [EXAM], 1, no_lesions)
    image = pixels(picture)

    assert image.shape == picture.size[::-1]
    assert (image[:28] > 250).all()
    assert (image < 150).mean() > 0.7
    assert (image[:, picture.split : picture.split + 6] > 240).all()


@pytest.mark.parametrize(("column", "side"), [(8, 0), (24, 1)])
def test_contours_surround_the_spot_of_the_map_in_its_view(column: int, side: int, tmp_path: Path) -> None:
    (picture,) = pictures_of(write_run(tmp_path, spot(14, column)), [EXAM], 1, no_lesions)
    body = pixels(picture)[30:] < 150
    top = 30 + int(np.argmax(body.any(axis=1)))
    start = 0 if side == 0 else picture.split + 8
    left = start + int(np.argmax(body[:, start:].any(axis=0)))

    outer, inner = map(corners, picture.contours)
    middle = [left + 8.5 * 16 - BODY[1].start, top + 14.5 * 32 - BODY[0].start]
    assert (outer.min(axis=0) + outer.max(axis=0)) / 2 == pytest.approx(middle, abs=4)
    assert np.ptp(outer, axis=0) == pytest.approx([2 * 0.7 * 16, 2 * 0.7 * 32], abs=4)
    assert np.ptp(inner, axis=0) == pytest.approx([2 * 0.4 * 16, 2 * 0.4 * 32], abs=4)


def test_lesions_are_outlined_where_there_is_a_mask(tmp_path: Path) -> None:
    lesions = np.zeros((512, 512), bool)
    lesions[200:220, 100:120] = True

    (with_mask,) = pictures_of(write_run(tmp_path, spot(10, 8)), [EXAM], 1, lambda _: lesions)
    (without,) = pictures_of(tmp_path, [EXAM], 1, no_lesions)

    assert np.ptp(corners(with_mask.lesions), axis=0) == pytest.approx([20, 40], abs=3)
    assert without.lesions == ""


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    write_run(tmp_path, spot(10, 8))
    (tmp_path / f"scans/{EXAM}.jpg").write_bytes(b"no image")

    with pytest.raises(OutputError, match=rf"{EXAM}\.jpg cannot be read: delete it"):
        pictures_of(tmp_path, [EXAM], 1, no_lesions)
