"""Positions of the body in phantoms of every centre, with and without background, and in a real scan."""

from collections.abc import Callable
from pathlib import Path

import data_store
import numpy as np
import pydicom
import pytest
from tests.imaging.wrong_pictures import (
    BACKGROUNDS,
    CUT,
    SOUND,
    TURNED,
    WRONG,
    Counts,
    Pair,
    Phantom,
    add_background,
    clear,
    flags_of,
    phantoms,
    phantoms_with_arms_up,
)

from bsbatch.imaging import position
from bsbatch.imaging.quality import Flag
from bsbatch.native.view_pairs import IS_CUT, IS_TURNED

OF_POSITION: set[str] = {flag.value for flag in WRONG}
FAULTS = [(flag, name) for flag, faults in WRONG.items() for name in faults]


@pytest.fixture(scope="module")
def bodies() -> list[Phantom]:
    return [body for body in phantoms(len(BACKGROUNDS) + 1) if body.is_whole]


@pytest.fixture(scope="module")
def raised_arms() -> list[Phantom]:
    return [body for body in phantoms_with_arms_up(len(BACKGROUNDS) + 1) if body.is_whole]


@pytest.fixture(scope="module")
def real() -> Pair:
    """NEMA NM1, an anterior view of 3.6 million counts, and its mirror image for a posterior one."""
    view = pydicom.dcmread(Path(data_store.__file__).parent / "data" / "JPEG-LL.dcm").pixel_array.astype(np.uint16)
    return view, view[:, ::-1]


def raised(views: Pair) -> set[str]:
    return OF_POSITION & set(flags_of(views))


@pytest.mark.parametrize("change", SOUND.values(), ids=SOUND)
def test_a_sound_scan_raises_no_flag_with_any_background(
    bodies: list[Phantom], change: Callable[[Phantom], Pair]
) -> None:
    for number, body in enumerate(bodies):
        assert not raised(add_background(change(body), BACKGROUNDS[number % len(BACKGROUNDS)], number))


@pytest.mark.parametrize(("flag", "name"), FAULTS)
def test_a_scan_made_wrong_is_flagged_with_any_background(bodies: list[Phantom], flag: Flag, name: str) -> None:
    for number, body in enumerate(bodies[:3]):
        assert flag in raised(add_background(WRONG[flag][name](body), BACKGROUNDS[number], number))


@pytest.mark.parametrize("name", ["upside down", "turned by 180 degrees"])
def test_a_whole_body_upside_down_is_not_called_truncated(bodies: list[Phantom], name: str) -> None:
    assert all(raised(TURNED[name](body)) == {Flag.ORIENTATION_SUSPECT} for body in bodies)


@pytest.mark.parametrize("name", ["without the head", "stopped at the knees", "lower half only"])
def test_a_part_of_a_body_that_stands_is_not_called_turned(bodies: list[Phantom], name: str) -> None:
    assert all(raised(CUT[name](body)) == {Flag.BODY_TRUNCATED} for body in bodies)


@pytest.mark.parametrize("name", [name for name in SOUND if name != "a fifth of the counts"])
def test_a_sound_scan_with_the_arms_up_raises_no_flag(raised_arms: list[Phantom], name: str) -> None:
    for number, body in enumerate(raised_arms):
        assert not raised(add_background(SOUND[name](body), BACKGROUNDS[number % len(BACKGROUNDS)], number))


@pytest.mark.parametrize("name", ["upside down", "turned by 180 degrees"])
def test_a_whole_body_with_the_arms_up_is_turned_and_not_truncated_upside_down(
    raised_arms: list[Phantom], name: str
) -> None:
    assert all(raised(TURNED[name](body)) == {Flag.ORIENTATION_SUSPECT} for body in raised_arms)


@pytest.mark.parametrize("name", ["without the head", "matrix ends at the pelvis", "stopped at the knees", "legs only"])
def test_a_body_with_the_arms_up_is_truncated_without_its_head_or_legs(raised_arms: list[Phantom], name: str) -> None:
    assert all(Flag.BODY_TRUNCATED in raised(CUT[name](body)) for body in raised_arms)


def test_a_scan_stopped_at_the_pelvis_is_not_called_turned_with_a_strong_background(bodies: list[Phantom]) -> None:
    for number, body in enumerate(bodies):
        found = raised(add_background(CUT["stopped at the pelvis"](body), max(BACKGROUNDS), number))
        assert found == {Flag.BODY_TRUNCATED}


@pytest.mark.parametrize(("share", "is_raised"), [(0.05, False), (0.12, True)])
def test_a_head_is_missed_when_most_of_it_is_cut_off(bodies: list[Phantom], share: float, is_raised: bool) -> None:
    for body in bodies:
        front, back = (clear(view, slice(0, body.at(share))) for view in body.views)
        assert (Flag.BODY_TRUNCATED in raised((front, back))) is is_raised


def test_a_real_scan_raises_no_flag(real: Pair) -> None:
    assert not raised(real)
    assert not raised(add_background(real, 0.5, 1))


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        (lambda view: view[::-1], Flag.ORIENTATION_SUSPECT),
        (lambda view: view.T, Flag.ORIENTATION_SUSPECT),
        (lambda view: view[:450], Flag.BODY_TRUNCATED),
        (lambda view: view[450:], Flag.BODY_TRUNCATED),
        (lambda view: np.where(np.arange(1024)[:, np.newaxis] < 460, view, 0), Flag.BODY_TRUNCATED),
        (lambda view: np.where(np.arange(1024)[:, np.newaxis] % 8, view, 0), Flag.ROWS_MISSING),
    ],
    ids=["upside down", "transposed", "upper half", "lower half", "stopped", "every 8th row"],
)
def test_a_real_scan_made_wrong_is_flagged(real: Pair, change: Callable[[Counts], Counts], flag: Flag) -> None:
    assert raised((change(real[0]), change(real[1]))) == {flag}


@pytest.mark.parametrize("fill", [0, 1, 7, 65535])
def test_a_picture_without_a_shape_raises_no_flag(fill: int) -> None:
    even = np.full((1024, 256), fill, np.uint16)
    assert not raised((even, even))


def test_noise_raises_no_flag() -> None:
    random = np.random.default_rng(1)
    for mean in (0.3, 5, 300):
        front, back = random.poisson(mean, (2, 1024, 256)).astype(np.uint16)
        assert not raised((front, back))


@pytest.mark.parametrize(
    ("views", "cells", "totals", "expected"),
    [
        ((0, 0), (100, 5), (1.0, 3.0), (False, False, False)),
        ((0, 0), (100, 6), (1.0, 1.0), (False, False, True)),
        ((0, 0), (200, 10), (3.0, 1.0), (False, False, False)),
        ((0, 0), (200, 0), (1.0, 3.01), (False, False, True)),
        ((0, 0), (200, 0), (3.01, 1.0), (False, False, True)),
        ((IS_TURNED, 0), (100, 50), (1.0, 1.0), (True, False, False)),
        ((0, IS_TURNED), (100, 50), (1.0, 4.0), (True, False, True)),
        ((IS_CUT, 0), (100, 50), (1.0, 1.0), (False, True, True)),
        ((IS_CUT, IS_TURNED), (100, 0), (1.0, 1.0), (True, True, False)),
    ],
)
def test_a_fault_of_either_view_is_one_of_the_pair_and_views_are_compared_unless_turned(
    views: tuple[int, int], cells: tuple[int, int], totals: tuple[float, float], expected: tuple[bool, bool, bool]
) -> None:
    assert position.combine(views, cells, totals) == expected


WIDE = np.interp(np.linspace(0, 39, 32), np.arange(40), position._STANDING) * 1000
"""Widths of a standing body in half of the 64 bands of rows."""


@pytest.mark.parametrize(("squareness", "fault"), [(0.2, 0), (0.1999999, IS_TURNED), (0.05, IS_TURNED)])
def test_a_body_lies_across_if_it_is_less_than_four_fifths_as_high_as_wide(squareness: float, fault: int) -> None:
    rows, columns = np.zeros(64, np.uint32), np.zeros(16, np.uint32)
    rows[10:42], columns[2:10] = WIDE, np.hanning(10)[1:-1] * 1000
    assert position._judge_view(rows, columns, squareness) == fault


@pytest.mark.parametrize(
    ("squareness", "edge", "fault"),
    [(0.54, 660, IS_CUT), (0.525, 660, 0), (0.52, 660, 0), (0.54, 650, 0), (0.54, 651, IS_CUT)],
)
@pytest.mark.parametrize("side", [1, -1])
def test_half_a_body_is_slim_and_ends_abruptly_at_one_side(side: int, squareness: float, edge: int, fault: int) -> None:
    rows, columns = np.zeros(64, np.uint32), np.zeros(16, np.uint32)
    rows[10:42], columns[4:8] = WIDE, np.array([edge, 1000, 700, 300])[::side]
    assert position._judge_view(rows, columns, squareness) == fault


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize(("outer", "next_to_it", "fault"), [(660, 100, IS_CUT), (100, 660, 0)])
def test_the_outermost_eighth_of_the_width_says_how_a_body_ends(
    outer: int, next_to_it: int, fault: int, side: int
) -> None:
    rows, columns = np.zeros(64, np.uint32), np.zeros(16, np.uint32)
    rows[10:42], columns[4:12] = WIDE, np.array([outer, next_to_it, 1000, 1000, 800, 600, 500, 300])[::side]
    assert position._judge_view(rows, columns, 1.08) == fault


def test_a_piece_of_a_body_has_a_mean_of_zero_and_a_norm_of_one() -> None:
    for body in (position._STANDING, position._ARMS_UP):
        piece = position._piece(body, 0.1, 0.9)
        assert piece.sum() == pytest.approx(0)
        assert piece @ piece == pytest.approx(1)
    linear = position._piece(np.arange(40.0), 0.1, 0.9)
    np.testing.assert_allclose(linear, (np.arange(32) - 15.5) / np.linalg.norm(np.arange(32) - 15.5))
    above = np.concatenate((np.full(8, 5.0), np.arange(40.0)))  # by the forearms
    np.testing.assert_allclose(position._piece(above, 0.1, 0.9), linear)


def test_samples_are_the_means_of_equal_parts() -> None:
    np.testing.assert_allclose(position._means(np.array([1.0, 3.0, 5.0, 7.0]), (0, 4), 2), [2, 6])
    np.testing.assert_allclose(position._means(np.array([1.0, 3.0, 5.0, 7.0]), (0.5, 3.5), 3), [2, 4, 6])


@pytest.mark.parametrize("shape", [(1024, 256), (512, 512), (300, 140)])
def test_a_band_of_rows_is_compared_with_a_band_of_columns(shape: tuple[int, int]) -> None:
    assert position._squareness(shape) == pytest.approx((shape[0] / 64) / (shape[1] / 16))
