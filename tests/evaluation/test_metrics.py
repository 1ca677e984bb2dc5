"""Metrics are scikit-learn's, and those of the resamples agree with them, ties and repeated patients included."""

from math import isnan, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from tests.evaluation.made import like_the_paper, sample_of

from bsbatch.evaluation import metrics, weighted
from bsbatch.evaluation.performance import RATES, Confusion
from bsbatch.evaluation.sample import Floats, Sample
from bsbatch.evaluation.weighted import Ranking

FEW_SCORES = st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.7, 1.0])
ANY_SCORE = st.floats(0, 1, width=32)
CASES = st.lists(st.tuples(st.one_of(FEW_SCORES, ANY_SCORE), st.booleans()), min_size=1, max_size=25)
THRESHOLDS = st.one_of(FEW_SCORES, ANY_SCORE)
SETTINGS = settings(max_examples=50, deadline=None)


def sample_from(cases: list[tuple[float, bool]]) -> Sample:
    return sample_of([score for score, _ in cases], [label for _, label in cases])


def once(sample: Sample) -> Floats:
    """Weights of the sample itself."""
    return np.ones((1, sample.size))


def draw_once(sample: Sample, seed: int) -> tuple[Sample, Floats]:
    """A resample as a sample of its own, and as weights."""
    chosen: NDArray[np.intp] = np.random.default_rng(seed).integers(0, sample.size, sample.size)
    return sample_of(list(sample.scores[chosen]), list(sample.labels[chosen])), np.bincount(
        chosen, minlength=sample.size
    )[None].astype(np.float64)


@SETTINGS
@given(CASES, st.integers(0, 99))
def test_auc_of_a_resample_is_that_of_its_examinations(cases: list[tuple[float, bool]], seed: int) -> None:
    sample = sample_from(cases)
    resample, weights = draw_once(sample, seed)
    assert weighted.auc(Ranking.of(sample), weights)[0] == pytest.approx(metrics.auc(resample), abs=1e-12, nan_ok=True)


@SETTINGS
@given(CASES)
def test_auc_is_the_probability_that_a_positive_scores_above_a_negative(cases: list[tuple[float, bool]]) -> None:
    sample = sample_from(cases)
    scores, labels = sample.scores.tolist(), sample.labels.tolist()
    positives = [score for score, label in zip(scores, labels, strict=True) if label]
    negatives = [score for score, label in zip(scores, labels, strict=True) if not label]
    wins = [(one > other) + (one == other) / 2 for one in positives for other in negatives]
    expected = sum(wins) / len(wins) if wins else nan
    assert metrics.auc(sample) == pytest.approx(expected, abs=1e-12, nan_ok=True)


@SETTINGS
@given(CASES, THRESHOLDS, st.sampled_from([None, 0.01, 0.3]), st.integers(0, 99))
def test_rates_of_a_resample_are_those_of_its_examinations(
    cases: list[tuple[float, bool]], threshold: float, prevalence: float | None, seed: int
) -> None:
    sample = sample_from(cases)
    resample, weights = draw_once(sample, seed)
    expected = metrics.rates(resample, threshold, prevalence)
    found = weighted.rates(sample, threshold, prevalence, weights)
    assert tuple(expected) == tuple(found) == RATES
    for name, value in expected.items():
        assert found[name][0] == pytest.approx(value, abs=1e-12, nan_ok=True), name


@SETTINGS
@given(CASES)
def test_rates_follow_from_the_confusion_matrix(cases: list[tuple[float, bool]]) -> None:
    sample = sample_from(cases)
    counts, rates = metrics.confusion(sample, 0.5), metrics.rates(sample, 0.5, None)
    assert counts.true_positives + counts.false_negatives == sample.positives
    assert counts.true_negatives + counts.false_positives == sample.negatives
    for name, part, whole in (
        ("sensitivity", counts.true_positives, sample.positives),
        ("fpr", counts.false_positives, sample.negatives),
        ("ppv", counts.true_positives, counts.true_positives + counts.false_positives),
        ("npv", counts.true_negatives, counts.true_negatives + counts.false_negatives),
        ("accuracy", counts.true_positives + counts.true_negatives, sample.size),
    ):
        assert rates[name] == pytest.approx(part / whole if whole else nan, nan_ok=True), name


def test_rates_at_the_samples_own_prevalence_are_shares_of_its_counts() -> None:
    sample = like_the_paper()
    own = metrics.rates(sample, 0.5, None)
    stated = metrics.rates(sample, 0.5, sample.positives / sample.size)
    assert stated == pytest.approx(own)


def test_predictive_values_at_a_stated_prevalence() -> None:
    """Sensitivity and specificity of 90 % at a prevalence of 1 %: 9 of 108 positives are ill."""
    found = metrics.at_prevalence(np.array(0.9), np.array(0.9), 0.01)
    assert found["ppv"] == pytest.approx(9 / 108)
    assert found["npv"] == pytest.approx(891 / 892)
    assert found["accuracy"] == pytest.approx(0.9)
    assert found["f1"] == pytest.approx(2 * 9 / (2 * 9 + 99 + 1))


def test_a_division_by_zero_is_undefined() -> None:
    nobody_positive = metrics.rates(sample_of([0.1, 0.2], [0, 1]), 0.5, None)
    assert isnan(nobody_positive["ppv"])
    assert nobody_positive["f1"] == 0.0
    one_class = metrics.rates(sample_of([0.1, 0.9], [0, 0]), 0.5, None)
    assert isnan(one_class["sensitivity"])
    assert isnan(one_class["fnr"])
    assert isnan(metrics.auc(sample_of([0.1, 0.9], [0, 0])))


def test_a_score_of_exactly_the_threshold_is_positive_at_the_precision_of_the_results() -> None:
    assert metrics.confusion(sample_of([0.7, 0.69], [1, 0]), 0.7) == Confusion(1, 0, 0, 1)


def test_the_papers_confusion_matrix_gives_the_papers_rates() -> None:
    """411 positives and 587 negatives: no whole numbers give exactly the printed 82.2, 17.79, 80.45 and 19.55 %."""
    scores = [1.0] * 338 + [0.0] * 73 + [0.0] * 472 + [1.0] * 115
    rates = metrics.rates(sample_of(scores, [1] * 411 + [0] * 587), 0.5, None)
    printed = {"sensitivity": 82.2, "fnr": 17.79, "specificity": 80.45, "fpr": 19.55}
    for name, percentage in printed.items():
        assert 100 * rates[name] == pytest.approx(percentage, abs=0.05), name
    nearest = [min(range(total + 1), key=lambda n: abs(100 * n / total - rate)) for total, rate in _PRINTED]
    assert nearest == [338, 472]


_PRINTED = ((411, 82.2), (587, 80.45))


def test_the_roc_curve_on_the_grid_is_that_of_the_sample_and_ends_at_one() -> None:
    sample = like_the_paper()
    fpr, tpr, _ = metrics.roc(sample)
    np.testing.assert_allclose(weighted.roc(Ranking.of(sample), once(sample))[0], weighted.at_grid(fpr, tpr))
    np.testing.assert_allclose(weighted.at_grid(fpr, tpr)[-1], 1.0)
    assert np.trapezoid(tpr, fpr) == pytest.approx(roc_auc_score(sample.labels, sample.scores))
