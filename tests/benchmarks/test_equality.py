import numpy as np
import pytest
from benchmarks.equality import (
    TOLERANCE,
    DifferentResultsError,
    assert_same_arrays,
    assert_same_maps,
    assert_same_scores,
    assert_same_verdicts,
)

SCORES = {"1.2": 0.1, "1.3": 0.7}


def test_probabilities_within_the_tolerance_are_the_same() -> None:
    near = {"1.2": 0.1 + TOLERANCE / 2, "1.3": 0.7}

    assert assert_same_scores(SCORES, near, "peer") == pytest.approx(TOLERANCE / 2)


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        ({"1.2": 0.1}, "1 of our 2 examinations are missing"),
        ({**SCORES, "1.4": 0.5}, "1 are unknown to us"),
        ({"1.2": 0.1, "1.3": 0.7 + 2 * TOLERANCE}, "differs"),
        ({"1.2": 0.1, "1.3": float("nan")}, "differs"),
    ],
)
def test_other_examinations_or_probabilities_are_refused(theirs: dict[str, float], words: str) -> None:
    with pytest.raises(DifferentResultsError, match=words):
        assert_same_scores(SCORES, theirs, "peer")


def test_equal_probabilities_of_all_examinations_are_refused() -> None:
    flat = {"1.2": 0.5, "1.3": 0.5}

    with pytest.raises(DifferentResultsError, match="all probabilities are the same"):
        assert_same_scores(flat, flat, "peer")


def test_images_must_be_equal_to_the_last_bit_and_in_order() -> None:
    images = list(np.random.default_rng(0).random((3, 4, 4), np.float32))
    changed = [image.copy() for image in images]
    changed[1][2, 2] = np.nextafter(changed[1][2, 2], np.float32(2))

    assert_same_arrays(images, [image.copy() for image in images])
    for other in (images[:2], images[::-1], changed):
        with pytest.raises(DifferentResultsError):
            assert_same_arrays(images, other)


def test_heat_maps_must_be_equal_but_for_their_scale_and_not_empty() -> None:
    maps = np.random.default_rng(0).normal(size=(2, 32, 32)).astype(np.float32)
    changed = maps.copy()
    changed[1, 3, 3] += 0.01

    assert_same_maps(maps, 7 * maps)
    for other in (changed, -maps, np.zeros_like(maps)):
        with pytest.raises(DifferentResultsError):
            assert_same_maps(maps, other)


@pytest.mark.parametrize("theirs", [{"a": "pet"}, {"a": "pet", "b": "pet"}, {"a": "pet", "c": "modality_not_nm"}])
def test_every_file_must_have_the_same_reason(theirs: dict[str, str]) -> None:
    ours = {"a": "pet", "b": "modality_not_nm"}

    assert_same_verdicts(ours, dict(ours))
    with pytest.raises(DifferentResultsError):
        assert_same_verdicts(ours, theirs)
