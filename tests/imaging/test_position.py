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

from bsbatch.imaging.quality import Flag

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
