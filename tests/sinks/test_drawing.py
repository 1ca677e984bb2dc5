import hashlib

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from bsbatch.records import HeatMap
from bsbatch.sinks.drawing import Caption, Image, draw, overlay_view, sheet_of, small_overlay, small_scan
from bsbatch.view_pixels import ViewPixels

SURE = Caption(0.93, 0.5, ())
EMPTY = np.zeros((32, 16), np.float32)


def view(rows: int = 64, columns: int = 16, seed: int = 0) -> ViewPixels:
    return ViewPixels(np.random.default_rng(seed).poisson(9, (rows, columns)).astype(np.uint16))


def heat(*spots: tuple[int, int]) -> HeatMap:
    cells = np.zeros((32, 32), np.float32)
    for spot in spots:
        cells[spot] = 1
    return HeatMap(cells, 1.0)


def half(row: int, column: int) -> NDArray[np.float32]:
    return heat((row, column)).cells[:, :16]


def is_grey(image: Image) -> NDArray[np.bool_]:
    return np.asarray(np.ptp(image.astype(int), axis=2) == 0)


def test_without_heat_a_view_is_the_square_root_of_its_counts_in_inverse_grey() -> None:
    counts = np.zeros((64, 16), np.uint16)
    counts[:32], counts[40, 8] = 100, 25

    image = overlay_view(ViewPixels(counts), EMPTY)

    assert image.shape == (64, 16, 3)
    assert is_grey(image).all()
    assert (image[:32] == 0).all()
    assert image[40, 8, 0] == 255 - round(255 / 2)
    assert (image[50:] == 255).all()


def test_a_caption_names_a_probability_only_of_a_calibrated_model() -> None:
    assert Caption(1.0, 0.5, ()).lines[0] == "Score for metastasis >0.999  (positive from 0.500)"
    assert Caption(0.25, 0.5, (), is_calibrated=True).lines[0].startswith("Probability of metastasis 0.250")


def test_a_caption_warns_of_a_scan_unlike_the_training_data_first() -> None:
    assert Caption(0.9, 0.5, ()).alarm == ""
    assert Caption(0.9, 0.5, ("bladder",)).alarm == "look twice: bladder"
    alarm = Caption(0.9, 0.5, ("bladder",), is_unlike_training=True).alarm
    assert alarm == "unlike the training data: do not trust this score; look twice: bladder"


def test_one_hot_pixel_does_not_brighten_the_bones() -> None:
    counts = np.full((512, 128), 25, np.uint16)
    counts[100, 64] = 60000

    assert (overlay_view(ViewPixels(counts), EMPTY) == 0).all()


def test_a_view_without_counts_is_white() -> None:
    assert (overlay_view(ViewPixels(np.zeros((64, 16), np.int16)), EMPTY) == 255).all()
    assert (overlay_view(ViewPixels(np.full((64, 16), -3, np.int16)), EMPTY) == 255).all()


def test_the_map_is_at_its_position_in_a_view_of_any_size() -> None:
    """Bilinear: a cell's colour fades over the neighbouring cells and reaches no further."""
    rows, columns = 640, 160
    image = overlay_view(ViewPixels(np.zeros((rows, columns), np.uint16)), half(10, 4))

    coloured = ~is_grey(image)
    found = np.argwhere(coloured)
    assert coloured[210, 45]
    assert found.min(axis=0).tolist() >= [190, 35]
    assert found.max(axis=0).tolist() <= [230, 55]
    middle = found.mean(axis=0)
    assert middle == pytest.approx([10.5 * 20 - 0.5, 4.5 * 10 - 0.5], abs=0.5)


def test_colours_get_evenly_lighter_where_the_map_covers_the_scan() -> None:
    """Perceived lightness (CIE L*) of a map that rises from 0 to 1."""
    ramp = np.repeat(np.linspace(0, 1, 32, dtype=np.float32)[:, np.newaxis], 16, axis=1)
    image = overlay_view(ViewPixels(np.zeros((256, 16), np.uint16)), ramp)
    lightness = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)[:, 8, 0]

    opaque = lightness[140:]
    assert (np.diff(opaque) > -0.3).all()
    steps = np.diff(opaque[4:-4:8])
    assert steps.max() < 2 * steps.mean()


def test_the_scan_shows_through_the_hottest_place() -> None:
    counts = np.zeros((64, 16), np.uint16)
    counts[::2] = 50
    image = overlay_view(ViewPixels(counts), np.ones((32, 16), np.float32))

    assert not is_grey(image).any()
    assert (image[1::2].astype(int) - image[::2].astype(int)).min() > 50


@pytest.mark.parametrize("size", [(1024, 256), (512, 128), (64, 16), (2048, 512)])
def test_views_of_any_size_are_shown_as_they_are(size: tuple[int, int]) -> None:
    anterior, posterior = view(*size), view(*size, seed=1)

    image = draw((anterior, posterior), heat(), SURE)

    for pixels in (anterior, posterior):
        assert contains(image, overlay_view(pixels, EMPTY))


def test_views_of_two_sizes_stand_side_by_side() -> None:
    image = draw((view(128, 32), view(64, 16)), heat(), SURE)

    assert contains(image, overlay_view(view(128, 32), EMPTY))


def contains(image: Image, part: Image) -> bool:
    """Return True if an image contains a part, to the bit."""
    rows, columns = part.shape[:2]
    corners = np.argwhere((image[: -rows or None, : -columns or None] == part[0, 0]).all(axis=2))
    return any(np.array_equal(image[row : row + rows, column : column + columns], part) for row, column in corners)


def test_each_half_of_the_map_covers_its_view() -> None:
    blank = ViewPixels(np.zeros((640, 160), np.uint16))
    plain = draw((blank, blank), heat(), SURE)

    for spot, side in (((10, 4), 0), ((10, 20), 1)):
        changed = np.argwhere((draw((blank, blank), heat(spot), SURE) != plain).any(axis=2))
        assert (changed[:, 1].mean() > plain.shape[1] / 2) == bool(side)


@pytest.mark.parametrize(
    "other",
    [Caption(0.94, 0.5, ()), Caption(0.93, 0.4, ()), Caption(0.93, 0.95, ()), Caption(0.93, 0.5, ("bladder",))],
    ids=str,
)
def test_probability_threshold_and_warnings_are_written(other: Caption) -> None:
    views = view(), view()

    assert not np.array_equal(draw(views, heat(), SURE), draw(views, heat(), other))


def test_the_caption_says_which_class_the_map_is_of() -> None:
    assert Caption(0.5, 0.5, ()).lines[1] == "Grad-CAM for: metastasis"
    assert Caption(0.49, 0.5, ()).lines[1] == "Grad-CAM for: no metastasis"
    assert "0.490" in Caption(0.49, 0.5, ()).lines[0]


def test_the_same_examination_is_drawn_to_the_same_bit() -> None:
    digests = {hashlib.sha256(draw((view(), view()), heat((3, 3)), SURE).tobytes()).hexdigest() for _ in range(3)}

    assert len(digests) == 1


def test_a_sheet_shows_each_of_its_images() -> None:
    images = [draw((view(1024, 256), view(1024, 256)), heat((row, 3)), SURE) for row in range(10)]

    one, ten = sheet_of(images[:1], ["a"]), sheet_of(images, list("abcdefghij"))

    assert one.shape[1] == ten.shape[1]
    assert 1.7 < len(ten) / len(one) <= 2.0
    assert not np.array_equal(sheet_of(images, list("abcdefghiX")), ten)


@pytest.mark.parametrize("sizes", [((1024, 256), (1024, 256)), ((512, 128), (256, 64)), ((64, 16), (64, 16))])
def test_the_small_scan_is_the_small_overlay_without_its_map(sizes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    views = view(*sizes[0]), view(*sizes[1], seed=1)
    plain, hot = draw(views, heat(), SURE), draw(views, heat((10, 4), (20, 25)), SURE)

    scan = small_scan(views, hot)

    assert np.array_equal(scan, small_scan(views, plain))
    expected = small_overlay(plain)[:, :, 0]
    changed = np.argwhere(scan != expected)
    assert np.ptp(changed[:, 1]) < 60  # the scale bar alone, which goes white
    assert (scan >= expected).all()
    assert scan.shape == small_overlay(hot).shape[:2]
    assert not np.array_equal(scan, small_overlay(hot)[:, :, 0])
