import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from bsbatch.imaging.body import body_of
from bsbatch.imaging.preprocess import compose
from bsbatch.records import Silhouette

ROWS, COLUMNS = 1024, 256
Pixels = NDArray[np.float32]


def person(left: float = 60, right: float = 200, top: float = 100, bottom: float = 900) -> Pixels:
    """1 within an ellipse, 0 elsewhere; ``(1024, 256)``."""
    rows, columns = np.mgrid[:ROWS, :COLUMNS].astype(np.float32)
    distance = np.hypot(
        (rows - (top + bottom) / 2) / ((bottom - top) / 2), (columns - (left + right) / 2) * 2 / (right - left)
    )
    return np.asarray(distance <= 1, np.float32)


def counts_of(shape: Pixels, *, air: float = 0.3, tissue: float = 8.0, spots: float = 0.0) -> Pixels:
    """Poisson counts of a body in air; the bladder has ``spots`` times the uptake of tissue."""
    expected = np.where(shape > 0, tissue, air)
    expected[480:510, 115:140] += spots * tissue
    return np.random.default_rng(1).poisson(expected).astype(np.float32)


def truth(shape: Pixels) -> Pixels:
    """Share of body in each cell of a heat map, by averaging the shape itself."""
    return np.asarray(cv2.resize(shape, (16, 32), interpolation=cv2.INTER_AREA))


@pytest.mark.parametrize("spots", [0.0, 10.0, 100.0])
@pytest.mark.parametrize("tissue", [3.0, 8.0, 100.0])
def test_the_body_is_found_for_any_uptake_of_the_bladder(spots: float, tissue: float) -> None:
    shape = person()
    counts = counts_of(shape, air=tissue / 20, tissue=tissue, spots=spots)

    cells = body_of(compose(counts, counts)).cells

    np.testing.assert_allclose(cells, np.hstack([truth(shape)] * 2), atol=0.35)
    assert np.abs(cells - np.hstack([truth(shape)] * 2)).mean() < 0.02
    assert cells.dtype == np.float32


def test_each_view_has_its_own_extent() -> None:
    anterior, posterior = person(), person(left=100, right=180, top=20, bottom=1000)

    found = body_of(compose(counts_of(anterior), counts_of(posterior)))

    for view, (left, right, top, bottom) in (
        (found.anterior, (60, 200, 100, 900)),
        (found.posterior, (100, 180, 20, 1000)),
    ):
        assert view.top == pytest.approx(top / 32, abs=0.5)
        assert view.bottom == pytest.approx(bottom / 32, abs=0.5)
        assert view.midline == pytest.approx((left + right) / 2 / 16, abs=0.1)
        assert view.half_width == pytest.approx((right - left) / 2 / 16, abs=0.5)


def test_the_extent_of_a_view_is_exact_in_cells() -> None:
    image = np.zeros((512, 512), np.float32)
    image[64:448, 64:160] = image[64:448, 256 + 64 : 256 + 160] = 1
    image[64:160, 256 + 160 : 256 + 208] = 1  # an arm on the right

    body = body_of(image)

    assert body.anterior == Silhouette(4.0, 28.0, 7.0, 3.0)
    assert body.posterior == Silhouette(4.0, 28.0, 7.5, 5.5)
    assert body_of(image[:, ::-1]).anterior == Silhouette(4.0, 28.0, 8.5, 5.5)


def test_an_image_without_a_body_has_the_extent_of_the_whole_view() -> None:
    body = body_of(np.zeros((512, 512), np.float32))

    assert not body.cells.any()
    assert (body.anterior.top, body.anterior.bottom) == (0.0, 32.0)
    assert (body.anterior.midline, body.anterior.half_width) == (8.0, 8.0)
