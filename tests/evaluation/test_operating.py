"""Thresholds are chosen as the rules say."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evaluation.made import sample_of

from bsbatch.evaluation.metrics import rates
from bsbatch.evaluation.operating import at_sensitivity, operating_points, shortest, youden
from bsbatch.evaluation.settings import DecisionSettings

SCORES = [0.1, 0.2, 0.3, 0.3, 0.6, 0.7, 0.8, 0.9]
LABELS = [0, 0, 0, 1, 0, 1, 1, 1]


def test_youden_takes_the_highest_of_equal_thresholds() -> None:
    assert youden(sample_of([0.1, 0.4, 0.6, 0.9], [0, 1, 0, 1])) == 0.9
    assert youden(sample_of(SCORES, LABELS)) == 0.7


def test_youden_of_a_model_that_is_always_wrong_calls_everything_positive() -> None:
    assert youden(sample_of([0.1, 0.9], [1, 0])) == 0.1


@pytest.mark.parametrize(("sensitivity", "threshold"), [(0.25, 0.9), (0.5, 0.8), (0.51, 0.7), (0.76, 0.3), (1.0, 0.3)])
def test_the_highest_threshold_that_is_sensitive_enough(sensitivity: float, threshold: float) -> None:
    assert at_sensitivity(sample_of(SCORES, LABELS), sensitivity) == threshold


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=12), st.floats(0.01, 1.0))
def test_a_chosen_threshold_means_the_same_after_it_was_rounded(scores: list[float], sensitivity: float) -> None:
    sample = sample_of(scores, [place % 2 for place in range(len(scores))])
    assert rates(sample, at_sensitivity(sample, sensitivity), None)["sensitivity"] >= sensitivity
    found = rates(sample, youden(sample), None)
    best = max(sum(list(rates(sample, float(score), None).values())[:2]) for score in sample.scores)
    assert found["sensitivity"] + found["specificity"] == pytest.approx(best)


def test_the_threshold_of_the_run_comes_first_unless_another_is_given() -> None:
    sample = sample_of(SCORES, LABELS)
    assert [point.name for point in operating_points(sample, DecisionSettings(), 0.4)] == [
        "threshold",
        "half",
        "youden",
        "sensitivity",
    ]
    assert operating_points(sample, DecisionSettings(), 0.4)[0].threshold == 0.4
    assert operating_points(sample, DecisionSettings(threshold=0.2), 0.4)[0].threshold == 0.2


def test_thresholds_keep_their_decimal_form() -> None:
    assert shortest(0.699999988079071) == 0.7
