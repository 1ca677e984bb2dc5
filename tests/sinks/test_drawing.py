import hashlib
from itertools import pairwise

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from bsbatch.config import OverlayStyle
from bsbatch.records import HeatMap
from bsbatch.sinks.drawing import Caption, Image, draw, scan_image, sheet_of, small_overlay
from bsbatch.view_pixels import ViewPixels

SURE = Caption(0.93, 0.5, ())
ROWS, COLUMNS = 1024, 256
CELL = 32, 16
"""Rows and columns of a view under one cell of a heat map."""
CONTOURS, TRANSLUCENT = OverlayStyle.CONTOURS, OverlayStyle.TRANSLUCENT


def body(rows: int = ROWS, columns: int = COLUMNS, seed: int = 0) -> ViewPixels:
    """A view that is body from edge to edge: nothing is cropped."""
    return ViewPixels(np.random.default_rng(seed).poisson(9, (rows, columns)).astype(np.uint16))


def heat(*spots: tuple[int, int]) -> HeatMap:
    cells = np.zeros((32, 32), np.float32)
    for spot in spots:
        cells[spot] = 1
    return HeatMap(cells, 1.0)


def is_coloured(image: Image) -> NDArray[np.bool_]:
    return np.asarray(np.ptp(image.astype(int), axis=2) > 0)


def panels(image: Image) -> list[Image]:
    """The views of the three panels, without captions."""
    return np.hsplit(image[150:-44], 3)


def test_a_caption_names_a_probability_only_of_a_calibrated_model() -> None:
    assert Caption(1.0, 0.5, ()).headline == "Score for metastasis >0.999  (positive from 0.500)"
    assert Caption(0.25, 0.5, (), is_calibrated=True).headline.startswith("Probability of metastasis 0.250")


def test_a_caption_warns_of_a_scan_unlike_the_training_data_first() -> None:
    assert Caption(0.9, 0.5, ()).alarm == ""
    assert Caption(0.9, 0.5, ("bladder",)).alarm == "look twice at the heat map: bladder"
    alarm = Caption(0.9, 0.5, ("bladder",), ("lossy", "unlike_training")).alarm
    assert alarm == "unlike the training data: do not trust this score; look twice at the heat map: bladder"


def test_a_caption_lists_the_quality_flags() -> None:
    assert Caption(0.9, 0.5, ()).quality == "Quality flags: none"
    assert Caption(0.9, 0.5, (), ("lossy", "saturated")).quality == "Quality flags: lossy, saturated"


def test_the_caption_says_which_class_the_map_is_of() -> None:
    assert Caption(0.5, 0.5, ()).predicted == "metastasis"
    assert Caption(0.49, 0.5, ()).predicted == "no metastasis"


@pytest.mark.parametrize(
    "other",
    [
        Caption(0.94, 0.5, ()),
        Caption(0.93, 0.4, ()),
        Caption(0.93, 0.95, ()),
        Caption(0.93, 0.5, ("bladder",)),
        Caption(0.93, 0.5, (), ("lossy",)),
    ],
    ids=str,
)
def test_score_threshold_warnings_and_flags_are_written(other: Caption) -> None:
    views = body(64, 16), body(64, 16)

    assert not np.array_equal(draw(views, heat(), SURE), draw(views, heat(), other))


@pytest.mark.parametrize("style", OverlayStyle)
def test_the_scan_stands_beside_its_map_and_again_in_half_the_window(style: OverlayStyle) -> None:
    views = body(), body(seed=1)
    marked, plain, dark = panels(draw(views, heat((5, 5), (20, 25)), SURE, style))

    assert is_coloured(marked).any()
    assert not is_coloured(plain).any()
    assert not is_coloured(dark).any()
    untouched = ~is_coloured(marked)
    assert np.array_equal(marked[untouched], plain[untouched])
    darkness, twice = 255 - plain[5:-5, 20:260].astype(int), 255 - dark[5:-5, 20:260].astype(int)
    assert np.abs(np.minimum(2 * darkness, 255) - twice).max() <= 1


def test_both_views_have_one_window() -> None:
    """The same counts are the same grey in both."""
    faint, hot = np.full((ROWS, COLUMNS), 10, np.uint16), np.full((ROWS, COLUMNS), 10, np.uint16)
    hot[::2] = 40
    _, plain, _ = panels(draw((ViewPixels(faint), ViewPixels(hot)), heat(), SURE))

    shades = [set(np.unique(half)) for half in np.hsplit(plain[:, 20:-20], 2)]
    faintest = 255 - min(255 - shade for shade in shades[0] if shade != 255)
    assert faintest in shades[1]
    assert faintest > 128


@pytest.mark.parametrize(("style", "reach"), [(CONTOURS, 1.0), (TRANSLUCENT, 1.5)])
def test_the_map_is_at_its_position(style: OverlayStyle, reach: float) -> None:
    """Bilinear: a cell's colour fades over the neighbouring cells and reaches no further."""
    spot = 10, 4
    marked, plain, _ = panels(draw((body(), body(seed=1)), heat(spot), SURE, style))
    left = int(np.argmax((plain[:, :, 0] < 255).any(axis=0)))

    changed = np.argwhere((marked != plain).any(axis=2)) - (0, left)
    for axis in (0, 1):
        middle = (spot[axis] + 0.5) * CELL[axis]
        assert np.mean(changed[:, axis]) == pytest.approx(middle, abs=CELL[axis] / 8)
        assert np.abs(changed[:, axis] - middle).max() <= reach * CELL[axis] + 2


def test_each_half_of_the_map_covers_its_view() -> None:
    views = body(), body(seed=1)
    plain, *_ = panels(draw(views, heat(), SURE))

    for spot, side in (((10, 4), 0), ((10, 20), 1)):
        changed = np.argwhere((panels(draw(views, heat(spot), SURE))[0] != plain).any(axis=2))
        assert (changed[:, 1].mean() > plain.shape[1] / 2) == bool(side)


def test_contours_enclose_thirty_and_sixty_per_cent() -> None:
    """On a map that rises evenly from the top of both views to 1 at the bottom, they are two straight lines."""
    ramp = np.repeat(np.linspace(0, 1, 32, dtype=np.float32)[:, np.newaxis], 32, axis=1)
    marked, plain, _ = panels(draw((body(), body(seed=1)), HeatMap(ramp, 1.0), SURE))
    column = int(np.argmax((plain[:, :, 0] < 255).any(axis=0))) + COLUMNS // 2

    strong = np.ptp(marked[:, column].astype(int), axis=1) > 60
    starts = [row for row, (before, now) in enumerate(pairwise(strong)) if now and not before]
    expected = [(level * 31 + 0.5) * CELL[0] for level in (0.3, 0.6)]
    assert starts[:2] == pytest.approx(expected, abs=4)
    assert not is_coloured(marked[: starts[0] - 4, column : column + 1]).any()
    assert is_coloured(marked[starts[0] : starts[1], column : column + 1]).mean() > 0.9


def test_colours_get_evenly_lighter_where_a_translucent_map_covers_the_scan() -> None:
    """Perceived lightness (CIE L*) of a map that rises from 0 to 1."""
    ramp = np.repeat(np.linspace(0, 1, 32, dtype=np.float32)[:, np.newaxis], 32, axis=1)
    blank = ViewPixels(np.zeros((ROWS, COLUMNS), np.uint16))
    image = panels(draw((blank, blank), HeatMap(ramp, 1.0), SURE, TRANSLUCENT))[0]
    lightness = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)[:, 100, 0]

    opaque = lightness[560:1010]
    assert (np.diff(opaque) > -0.3).all()
    steps = np.diff(opaque[::40])
    assert steps.max() < 2 * steps.mean()


@pytest.mark.parametrize("style", OverlayStyle)
def test_the_scan_shows_through_the_hottest_place(style: OverlayStyle) -> None:
    counts = np.zeros((ROWS, COLUMNS), np.uint16)
    counts[::2] = 50
    marked = panels(
        draw((ViewPixels(counts), ViewPixels(counts)), HeatMap(np.ones((32, 32), np.float32), 1), SURE, style)
    )[0]

    rows = marked[200:800, 100].astype(int)
    assert np.abs(np.diff(rows, axis=0)).min() > 50


@pytest.mark.parametrize("sizes", [((2048, 512), (2048, 512)), ((512, 128), (512, 128)), ((128, 32), (64, 16))])
def test_small_views_are_enlarged_and_large_ones_stay(sizes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    rows = max(ROWS, sizes[0][0])
    _, plain, _ = panels(draw((body(*sizes[0]), body(*sizes[1], seed=1)), heat(), SURE))

    assert abs(len(plain) - rows) <= 4
    for half in np.hsplit(plain, 2):
        assert ((half[:, :, 0] < 255).any(axis=0)).sum() == pytest.approx(rows / 4, abs=8)


@pytest.mark.parametrize("style", OverlayStyle)
def test_the_same_examination_is_drawn_to_the_same_bit(style: OverlayStyle) -> None:
    views = body(64, 16), body(64, 16)
    digests = {hashlib.sha256(draw(views, heat((3, 3)), SURE, style).tobytes()).hexdigest() for _ in range(3)}

    assert len(digests) == 1


def test_views_without_counts_are_drawn_white() -> None:
    for empty in (np.zeros((64, 16), np.int16), np.full((64, 16), -3, np.int16)):
        pair = ViewPixels(empty), ViewPixels(empty)
        assert (panels(draw(pair, heat(), SURE))[1][10:-10, 100:110] == 255).all()
        assert (scan_image(pair) == 255).all()


def test_a_sheet_shows_the_map_of_each_image() -> None:
    images = [draw((body(), body(seed=1)), heat((row, 3)), SURE) for row in range(10)]

    one, ten = sheet_of(images[:1], ["a"]), sheet_of(images, list("abcdefghij"))

    assert one.shape[1] == ten.shape[1]
    assert 1.7 < len(ten) / len(one) <= 2.0
    assert not np.array_equal(sheet_of(images, list("abcdefghiX")), ten)
    assert is_coloured(small_overlay(images[0], 260)).any()
    assert small_overlay(images[0], 260).shape[1] == 260


def test_a_scan_image_has_both_views_whole_as_roots_of_their_counts() -> None:
    """Grey falls with the square root: a quarter of the counts has half of the darkness."""
    counts = np.zeros((ROWS, COLUMNS), np.uint16)
    counts[:512], counts[512:] = 100, 25
    image = scan_image((ViewPixels(counts), ViewPixels(counts * 2)))

    assert image.shape == (1024, 512)
    darkness = 255 - image.astype(int)
    upper, lower = darkness[100], darkness[900]
    assert upper == pytest.approx(2 * lower, abs=2)
    assert upper[400] == pytest.approx(upper[100] * 2**0.5, abs=2)
    assert upper[400] < 255 / 2 + 2  # twice the level of the overlay, of four that the image covers
