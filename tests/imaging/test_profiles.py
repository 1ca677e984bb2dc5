import numpy as np
import pytest
from numpy.typing import NDArray

from bsbatch.imaging.profiles import count_missing, profile_pair, sum_cells

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
