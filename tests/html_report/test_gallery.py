import base64
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tests.end_to_end.tables import results

from bsbatch.html_report.gallery import pictures_of


def pixels(url: str) -> NDArray[Any]:
    content = base64.b64decode(url.partition(",")[2])
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image)


def test_the_first_in_rank_that_have_an_overlay_are_taken(screened: Path) -> None:
    ranked = [row["exam_id"] for row in results(screened)]
    have = {path.stem for path in (screened / "overlays").iterdir()}

    pictures = pictures_of(screened, ["0" * 32, *ranked], 5)

    assert [picture.exam_id for picture in pictures] == [name for name in ranked if name in have][:5]


def test_scan_and_map_have_one_size(screened: Path) -> None:
    for picture in pictures_of(screened, [row["exam_id"] for row in results(screened)], 3):
        assert picture.scan is not None
        assert pixels(picture.overlay).shape == pixels(picture.scan).shape == (picture.height, 400, 3)


def test_an_older_run_has_no_scan(screened: Path, tmp_path: Path) -> None:
    shutil.copytree(screened / "overlays", tmp_path / "overlays")
    pictures = pictures_of(tmp_path, [row["exam_id"] for row in results(screened)], 2)
    assert len(pictures) == 2
    assert all(picture.scan is None for picture in pictures)
