import numpy as np
import pytest
from numpy.typing import NDArray

from bsbatch.imaging.profiles import _cover, count_missing, profile_pair, sum_cells

BODY = np.zeros((1024, 256), np.uint16)
BODY[50:900, 60:200] = 5


def alter(rows: slice, value: int = 0, columns: slice = slice(None)) -> NDArray[np.uint16]:
    counts = BODY.copy()
    counts[rows, columns] = value
    return counts


@pytest.mark.parametrize("shape", [(1024, 256), (512, 128), (64, 16), (2, 2), (3, 5), (1, 1), (1023, 255)])
def test_cells_hold_every_count_once(shape: tuple[int, int]) -> None:
    counts = np.random.default_rng(1).poisson(9, shape)
    assert sum_cells(counts).sum() == counts.sum()


def test_a_cell_holds_the_counts_of_its_rows_and_columns() -> None:
    counts = np.random.default_rng(1).poisson(9, (1024, 256))
    np.testing.assert_array_equal(sum_cells(counts), counts.reshape(64, 16, 16, 16).sum(axis=(1, 3)))


def test_a_hot_spot_counts_no_more_than_its_width() -> None:
    hot = alter(slice(400, 416), 60_000, slice(112, 128))
    plain, spotted = profile_pair(BODY, BODY), profile_pair(hot, BODY)
    assert spotted.rows[0, 25] < 1.3 * plain.rows[0, 25]
    assert spotted.rows[0, 30] == pytest.approx(plain.rows[0, 30], rel=0.02)


def test_air_around_the_body_does_not_widen_it() -> None:
    faint = np.random.default_rng(1).poisson(0.3, BODY.shape)
    rows = profile_pair((BODY + faint).astype(np.uint16), BODY).rows[0]
    assert (rows[:3].max(), rows[57:].max()) == (0, 0)


@pytest.mark.parametrize(
    ("rows", "number"), [(slice(300, 301), 1), (slice(300, 340), 40), (slice(200, 800), 600), (slice(100, 900, 8), 100)]
)
def test_rows_without_counts_within_the_body_are_missing(rows: slice, number: int) -> None:
    assert count_missing(alter(rows)) == number


@pytest.mark.parametrize("rows", [slice(0, 50), slice(50, 90), slice(860, 900), slice(900, None)])
def test_rows_without_counts_above_or_below_the_body_are_not_missing(rows: slice) -> None:
    assert count_missing(alter(rows)) == 0


def test_rows_that_hold_background_instead_of_counts_are_missing() -> None:
    faint = np.random.default_rng(1).poisson(0.1, BODY.shape)
    assert count_missing((alter(slice(300, 340)) + faint).astype(np.uint16)) == 40


def test_rows_between_two_hot_spots_are_not_missing() -> None:
    hot = alter(slice(300, 310), 900, slice(100, 120))
    hot[330:340, 100:120] = 900
    assert count_missing(hot) == 0


def test_rows_between_the_feet_and_a_bag_below_them_are_not_missing() -> None:
    bag = alter(slice(940, 980), 90, slice(100, 130))
    assert count_missing(bag) == 0


def test_rows_of_a_neck_are_not_missing() -> None:
    neck = alter(slice(150, 200), 0, slice(60, 105))
    neck[150:200, 155:200] = 0
    assert count_missing(neck) == 0


def test_cells_that_one_view_lacks_are_counted_where_the_other_shows_the_body() -> None:
    whole = profile_pair(BODY, BODY[:, ::-1])
    half = profile_pair(alter(slice(None), columns=slice(0, 128)), BODY[:, ::-1])

    assert whole.absent_cells == 0
    assert half.body_cells == whole.body_cells
    assert half.absent_cells == pytest.approx(whole.body_cells / 2, rel=0.1)


def picture(rows: list[tuple[int, int, int]]) -> NDArray[np.uint16]:
    """A view of 1024 x 256 from bands: number of rows, pixels with counts in each, counts of such a pixel."""
    counts = np.zeros((1024, 256), np.uint16)
    first = 0
    for number, width, value in rows:
        counts[first : first + number, :width] = value
        first += number
    return counts


@pytest.mark.parametrize(
    ("pixels", "value", "number"),
    [(59, 4, 1), (60, 4, 0), (24, 10, 1), (25, 10, 0), (50, 5, 0), (83, 3, 0), (1, 249, 1)],
)
def test_a_row_is_missing_below_a_quarter_of_the_counts_and_three_fifths_of_the_pixels(
    pixels: int, value: int, number: int
) -> None:
    """The rows around it have 100 pixels of 10 counts: a quarter is 250 counts."""
    assert count_missing(picture([(100, 100, 10), (1, pixels, value), (100, 100, 10)])) == number


@pytest.mark.parametrize(("value", "number"), [(8, 1), (7, 0)])
def test_a_row_can_be_missing_from_128_counts_on(value: int, number: int) -> None:
    assert count_missing(picture([(9, 16, value), (1, 1, 1), (9, 16, value)])) == number


@pytest.mark.parametrize(("width", "number"), [(50, 1), (49, 0)])
def test_a_row_can_be_missing_where_the_body_has_a_third_of_its_largest_width(width: int, number: int) -> None:
    assert count_missing(picture([(4, width, 90), (1, 0, 0), (4, width, 90), (4, 150, 30)])) == number


@pytest.mark.parametrize(("value", "number"), [(51, 0), (52, 1)])
def test_a_row_can_be_missing_where_half_the_mean_counts_are_promised(value: int, number: int) -> None:
    """With 51 counts a pixel in the faint rows, all rows have 163,200: the mean of 16 is twice the 5100 promised."""
    counts = np.zeros((16, 256), np.uint32)
    counts[0:3, :100], counts[3:6, :100], counts[1] = value, 510, 0
    assert count_missing(counts) == number


def test_rows_are_counted_in_both_views() -> None:
    assert profile_pair(alter(slice(300, 303)), alter(slice(400, 405))).missing_rows == 8


def test_a_cell_belongs_to_the_body_by_the_roots_of_its_counts() -> None:
    cells = np.zeros((64, 16))
    cells[10:50, 4:12] = 100.0
    cells[20, 4], cells[21, 4], cells[22, 4] = 15.1, 15.5, 900.0  # 15 % of the mean, and nine times it

    covers = _cover(cells)

    assert (covers[0, 0], covers[30, 8]) == (0, 160)
    assert (covers[20, 4], covers[21, 4], covers[22, 4]) == (0, 63, 278)


def test_a_cell_of_a_view_lacks_the_body_below_a_tenth_of_the_counts_of_the_other() -> None:
    cells = np.zeros((64, 16), np.uint16)
    cells[10:50, 4:12] = 100
    front, back = (np.repeat(np.repeat(view, 2, axis=0), 2, axis=1) for view in (cells, cells.copy()))
    back[40:42, 8:10], back[42:44, 8:10], back[80:82, 8:10] = 10, 9, 0
    both = profile_pair(front, back)
    assert (both.body_cells, both.absent_cells) == (320, 2)


def test_counts_of_any_unit_show_a_body() -> None:
    """The root of a cell of 0.004 counts is one step."""
    faint = np.where(BODY > 0, np.float32(0.004 / 256), np.float32(0))
    assert profile_pair(faint, faint).body_cells == profile_pair(BODY, BODY).body_cells > 0
