import numpy as np
import pytest
from numpy.typing import NDArray

from bsbatch.sinks.window import boxes_of, inverse_grey, upper_level

ROWS, COLUMNS = 1024, 256
TOP, BOTTOM, LEFT, RIGHT = 64, 960, 64, 192


def body(**spots: float) -> NDArray[np.float32]:
    """A body of 20 counts for each pixel in empty air, with spots of some counts in its organs."""
    view = np.zeros((ROWS, COLUMNS), np.float32)
    view[TOP:BOTTOM, LEFT:RIGHT] = 20
    places = {
        "bladder": (slice(460, 500), slice(118, 138)),
        "kidneys": (slice(330, 370), slice(140, 155)),
        "hand": (slice(500, 540), slice(66, 76)),
        "spine": (slice(150, 300), slice(118, 138)),
    }
    for name, counts in spots.items():
        view[places[name]] = counts
    return view


def test_boxes_are_around_the_body_with_a_border() -> None:
    box, _ = boxes_of([body(), body()])

    assert box.top * ROWS == pytest.approx(TOP, abs=24)
    assert box.bottom * ROWS == pytest.approx(BOTTOM, abs=24)
    assert box.left * COLUMNS < LEFT
    assert box.right * COLUMNS > RIGHT
    assert box.crop(body()).sum() == body().sum()


def test_boxes_of_both_views_have_the_same_rows_and_the_same_width() -> None:
    shorter = np.roll(body(), 20, axis=1)
    shorter[:200], shorter[:, :100] = 0, 0

    first, second = boxes_of([body(), shorter])

    assert first[:2] == second[:2]
    assert second.right - second.left == pytest.approx(first.right - first.left)
    assert second.crop(shorter).sum() == shorter.sum()


def test_a_narrow_body_keeps_its_surroundings() -> None:
    leg = np.zeros((ROWS, COLUMNS), np.float32)
    leg[:, 250:254] = 20

    box, _ = boxes_of([leg, leg])

    assert box.right == 1.0
    assert 0.3 < box.right - box.left < 0.5


def test_without_counts_the_box_is_the_whole_view() -> None:
    empty = np.zeros((ROWS, COLUMNS), np.float32)

    assert boxes_of([empty, empty])[0] == (0, 1, 0, 1)
    assert upper_level([empty], boxes_of([empty, empty])[:1]) == 1.0


@pytest.mark.parametrize("organ", ["bladder", "kidneys", "hand"])
def test_hot_organs_do_not_change_the_window(organ: str) -> None:
    plain, hot = body(), body(**{organ: 500.0})

    levels = [upper_level([view, plain], boxes_of([view, plain])) for view in (plain, hot)]

    assert levels[0] == pytest.approx(20, rel=0.01)
    assert levels[1] == pytest.approx(levels[0], rel=0.01)


def test_a_hot_spine_in_one_view_changes_the_window_of_both() -> None:
    views = [body(spine=80.0), body()]

    assert upper_level(views, boxes_of(views)) == pytest.approx(80, rel=0.01)


def test_grey_is_linear_from_white_to_black() -> None:
    counts = np.array([[-5, 0, 5, 10, 20]], np.float32)

    assert inverse_grey(counts, 10).tolist() == [[255, 255, 127, 0, 0]]
