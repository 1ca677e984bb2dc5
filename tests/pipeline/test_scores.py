"""Scores of single examinations: logits that are not rounded, and distances beyond a limit."""

import math

import numpy as np
import pytest

from bsbatch.pipeline.scores import is_beyond, scores_of
from bsbatch.records import Inference


@pytest.mark.parametrize(
    ("pair", "logit"),
    [((0.5, 0.5), 0.0), ((0.2, 0.8), math.log(4)), ((1e-20, 1.0), 20 * math.log(10)), ((1.0, 1e-20), -46.0517)],
)
def test_the_logit_distinguishes_scores_that_are_rounded_to_0_or_1(pair: tuple[float, float], logit: float) -> None:
    (score,) = scores_of(Inference(np.array([pair], np.float32)))

    assert score.logit == pytest.approx(logit, abs=1e-4)


@pytest.mark.parametrize("pair", [(0.0, 1.0), (1.0, 0.0)])
def test_the_logit_of_a_certain_score_is_finite(pair: tuple[float, float]) -> None:
    (score,) = scores_of(Inference(np.array([pair], np.float32)))

    assert abs(score.logit) == pytest.approx(87.336, abs=1e-3)


def test_each_examination_gets_its_own_outputs() -> None:
    cams = np.arange(2 * 32 * 32, dtype=np.float32).reshape(2, 32, 32)
    halves, distances = np.full((2, 2), 0.5, np.float32), np.array([3.0, 4.0], np.float32)

    first, second = scores_of(Inference(halves, distances, cams))

    assert (first.distance, second.distance) == (3.0, 4.0)
    assert first.cam is not None
    assert np.array_equal(first.cam, cams[0])
    assert next(scores_of(Inference(halves))).distance is None


@pytest.mark.parametrize(
    ("distance", "limit", "expected"),
    [(5.0, 5.0, False), (5.1, 5.0, True), (math.nan, 5.0, True), (None, 5.0, False), (9.0, None, False)],
)
def test_a_distance_that_is_not_below_its_limit_is_beyond_it(
    distance: float | None, limit: float | None, expected: bool
) -> None:
    assert is_beyond(distance, limit) is expected
