"""Statistics agree with independent implementations: scikit-learn, statsmodels, and definitions written out."""

import warnings
from math import comb, nan, sqrt

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, brier_score_loss, precision_recall_curve
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_of_statsmodels
from statsmodels.stats.proportion import proportion_confint
from tests.evaluation.made import like_the_paper, sample_of
from tests.evaluation.test_metrics import CASES, draw_once, once, sample_from

from bsbatch.evaluation import weighted
from bsbatch.evaluation.metrics import bin_of
from bsbatch.evaluation.performance import BINS, GRID
from bsbatch.evaluation.sample import Floats, Sample
from bsbatch.evaluation.statistics import calibration
from bsbatch.evaluation.statistics.calibration import Reliability, calibration_error, murphy
from bsbatch.evaluation.statistics.paired import delong, mcnemar
from bsbatch.evaluation.statistics.planning import auc_size, auc_width, proportion_size
from bsbatch.evaluation.statistics.utility import THRESHOLDS, treat_all
from bsbatch.evaluation.weighted import Ranking, reweight

SETTINGS = settings(max_examples=40, deadline=None)
OVERLAPPING = st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=6, max_size=40)


def fit_with_statsmodels(sample: Sample, weights: Floats) -> tuple[float, float]:
    """Slope and intercept of the calibration."""
    logits, labels = sample.logits, sample.labels.astype(float)
    family, drawn = sm.families.Binomial(), weights[0]
    slope = sm.GLM(labels, sm.add_constant(logits, has_constant="add"), family=family, freq_weights=drawn).fit(
        tol=1e-12
    )
    shift = sm.GLM(labels, np.ones_like(logits), family=family, freq_weights=drawn, offset=logits).fit(tol=1e-12)
    return float(slope.params[1]), float(shift.params[0])


@pytest.mark.parametrize("prevalence", [None, 0.05])
@pytest.mark.parametrize("seed", range(4))
def test_slope_and_intercept_are_those_of_logistic_regressions(seed: int, prevalence: float | None) -> None:
    sample = like_the_paper(seed)
    weights = reweight(sample, draw_once(sample, seed)[1], prevalence)

    slope, intercept = fit_with_statsmodels(sample, weights)
    assert calibration.slope(sample, weights)[0] == pytest.approx(slope, abs=1e-6)
    assert calibration.intercept(sample, weights)[0] == pytest.approx(intercept, abs=1e-6)


@SETTINGS
@given(OVERLAPPING)
def test_a_slope_of_any_sample_is_that_of_a_logistic_regression_or_undefined(cases: list[tuple[float, bool]]) -> None:
    sample = sample_from(cases)
    assume(0 < sample.positives < sample.size)
    found = calibration.slope(sample, once(sample))[0]
    of_class = [sample.logits[members] for members in (sample.labels, ~sample.labels)]
    is_parted = any(one.max() <= other.min() for one, other in (of_class, reversed(of_class)))
    assert np.isnan(found) == is_parted
    if not is_parted and np.ptp(sample.logits) > 0.1:
        with warnings.catch_warnings(action="ignore"):
            expected, _ = fit_with_statsmodels(sample, once(sample))
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_scores_that_are_probabilities_have_slope_1_and_intercept_0() -> None:
    scores = np.random.default_rng(1).beta(0.6, 1.0, 40_000).clip(1e-6, 1 - 1e-6)
    labels = np.random.default_rng(2).random(40_000) < scores
    sample = sample_of(list(scores), list(labels))

    assert calibration.slope(sample, once(sample))[0] == pytest.approx(1, abs=0.03)
    assert calibration.intercept(sample, once(sample))[0] == pytest.approx(0, abs=0.05)
    assert calibration_error(Reliability.of(sample, once(sample)))[0] < 0.01


def test_logits_of_a_run_replace_those_of_rounded_scores() -> None:
    rounded = sample_of([0.0, 1.0, 1.0, 0.5], [0, 1, 0, 1])
    exact = Sample(rounded.scores, rounded.labels, rounded.patients, np.array([-20.0, 30.0, 25.0, 0.0]))
    assert np.isfinite(rounded.logits).all()
    assert calibration.slope(exact, once(exact))[0] != calibration.slope(rounded, once(rounded))[0]
    assert exact.take(np.array([False, True, True, False])).logits.tolist() == [30.0, 25.0]


@SETTINGS
@given(CASES, st.integers(0, 99))
def test_calibration_error_is_the_mean_distance_over_the_bins_of_scikit_learn(
    cases: list[tuple[float, bool]], seed: int
) -> None:
    sample = sample_from(cases)
    resample, weights = draw_once(sample, seed)
    sizes = np.bincount(bin_of(resample.scores), minlength=BINS)
    scores = resample.scores.astype(np.float64)
    shares, means = calibration_curve(resample.labels, scores, n_bins=BINS, strategy="uniform")
    expected = float(np.sum(sizes[sizes > 0] / resample.size * np.abs(shares - means)))

    bins = Reliability.of(sample, weights)
    assert calibration_error(bins)[0] == pytest.approx(expected, abs=1e-12)
    np.testing.assert_allclose(bins.fractions[0][sizes > 0], shares, atol=1e-12)
    np.testing.assert_allclose(bins.mean_scores[0][sizes > 0], means, atol=1e-12)
    assert np.isnan(bins.fractions[0][sizes == 0]).all()


@SETTINGS
@given(CASES)
def test_the_brier_score_is_the_sum_of_its_parts(cases: list[tuple[float, bool]]) -> None:
    sample = sample_from(cases)
    scores, labels = sample.scores.astype(float).tolist(), sample.labels.astype(float).tolist()
    brier = brier_score_loss(sample.labels, scores, labels=[False, True])
    assert weighted.brier(sample, once(sample))[0] == pytest.approx(brier, abs=1e-12)

    # each examination by itself, with the mean score and the share of positives of its bin
    bins, base = bin_of(sample.scores).tolist(), float(np.mean(labels))
    of_bin = {number: [place for place, other in enumerate(bins) if other == number] for number in bins}
    means = {number: np.mean([scores[place] for place in places]) for number, places in of_bin.items()}
    shares = {number: np.mean([labels[place] for place in places]) for number, places in of_bin.items()}
    variance = np.mean([(score - means[number]) ** 2 for score, number in zip(scores, bins, strict=True)])
    covariance = np.mean(
        [
            (label - shares[number]) * (score - means[number])
            for score, label, number in zip(scores, labels, bins, strict=True)
        ]
    )
    parts = murphy(Reliability.of(sample, once(sample)), np.array([brier]))
    assert parts["reliability"][0] == pytest.approx(np.mean([(means[n] - shares[n]) ** 2 for n in bins]), abs=1e-12)
    assert parts["resolution"][0] == pytest.approx(np.mean([(shares[n] - base) ** 2 for n in bins]), abs=1e-12)
    assert parts["uncertainty"][0] == pytest.approx(base * (1 - base), abs=1e-12)
    assert parts["within_bins"][0] == pytest.approx(variance - 2 * covariance, abs=1e-12)


@SETTINGS
@given(CASES, st.integers(0, 99))
def test_average_precision_is_that_of_scikit_learn(cases: list[tuple[float, bool]], seed: int) -> None:
    sample = sample_from(cases)
    resample, weights = draw_once(sample, seed)
    expected = average_precision_score(resample.labels, resample.scores) if resample.positives else nan
    found = weighted.average_precision(Ranking.of(sample), weights)[0]
    assert found == pytest.approx(expected, abs=1e-12, nan_ok=True)


@SETTINGS
@given(CASES, st.integers(0, 99))
def test_precision_at_a_recall_is_that_of_the_highest_threshold_of_scikit_learn(
    cases: list[tuple[float, bool]], seed: int
) -> None:
    sample = sample_from(cases)
    resample, weights = draw_once(sample, seed)
    assume(resample.positives)
    shares, recalls, _ = precision_recall_curve(resample.labels, resample.scores)
    falling = list(zip(recalls[:-1], shares[:-1], strict=True))[::-1]  # from the highest threshold
    expected = [next(share for recall, share in falling if recall >= wanted - 1e-12) for wanted in GRID]
    np.testing.assert_allclose(weighted.precision(Ranking.of(sample), weights)[0], expected, atol=1e-12)


@SETTINGS
@given(CASES, st.integers(0, 99))
def test_net_benefit_counts_false_positives_at_the_odds_of_the_threshold(
    cases: list[tuple[float, bool]], seed: int
) -> None:
    sample = sample_from(cases)
    resample, weights = draw_once(sample, seed)
    found = weighted.decision_curve(Ranking.of(sample), weights)[0]
    for place in (0, 19, 49, 98):
        threshold = float(THRESHOLDS[place])
        decided = [score >= np.float32(threshold) for score in resample.scores]
        true = sum(one and label for one, label in zip(decided, resample.labels.tolist(), strict=True))
        false = sum(decided) - true
        expected = true / resample.size - false / resample.size * threshold / (1 - threshold)
        assert found[place] == pytest.approx(expected, abs=1e-12)


def test_treating_all_is_the_benefit_of_a_score_of_1() -> None:
    sample = sample_of([1.0] * 10, [1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(weighted.decision_curve(Ranking.of(sample), once(sample))[0], treat_all(0.3), atol=1e-12)


@SETTINGS
@given(CASES, st.sampled_from([0.01, 0.3, 0.9]), st.integers(0, 99))
def test_reweighting_gives_positives_the_share_that_is_stated(
    cases: list[tuple[float, bool]], prevalence: float, seed: int
) -> None:
    sample = sample_from(cases)
    resample, weights = draw_once(sample, seed)
    scaled = reweight(sample, weights, prevalence)
    if not 0 < resample.positives < resample.size:
        assert np.isnan(scaled).all()
        return
    assert scaled[0][sample.labels].sum() / scaled.sum() == pytest.approx(prevalence)
    assert scaled.sum() == pytest.approx(weights.sum())
    own = np.where(resample.labels, prevalence / resample.positives, (1 - prevalence) / resample.negatives)
    expected = brier_score_loss(resample.labels, resample.scores.astype(float), sample_weight=own)
    assert weighted.brier(sample, scaled)[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("width", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 0.857, 1.0])
def test_the_size_for_a_width_is_the_smallest_with_such_a_wilson_interval(share: float, width: float) -> None:
    size = proportion_size(share, width)
    assert size is not None
    for number, is_enough in ((size, True), (size - 1, False)):
        low, high = proportion_confint(share * number, number, method="wilson") if number else (0.0, 1.0)
        assert (high - low <= width + 1e-9) == is_enough, number


def test_sizes_of_undefined_metrics_are_undefined() -> None:
    assert proportion_size(nan, 0.1) is None
    assert [auc_size(auc, 0.4, 0.1) for auc in (nan, 0.0, 1.0)] == [None, None, None]


def test_the_width_of_an_auc_is_that_of_drawn_samples() -> None:
    """Scores of exponential distributions, which Hanley and McNeil's formula supposes; an AUC of 4 / 5."""
    generator = np.random.default_rng(5)
    positives, negatives = generator.exponential(4.0, (4000, 20)), generator.exponential(1.0, (4000, 30))
    areas = (positives[:, :, None] > negatives[:, None, :]).mean(axis=(1, 2))
    assert areas.mean() == pytest.approx(0.8, abs=0.005)
    assert auc_width(0.8, 20, 30) == pytest.approx(2 * 1.959964 * areas.std(), rel=0.03)


@pytest.mark.parametrize(("auc", "prevalence", "width"), [(0.9, 0.41, 0.05), (0.75, 0.1, 0.1), (0.99, 0.5, 0.2)])
def test_the_size_for_an_auc_is_the_smallest_that_is_narrow_enough(auc: float, prevalence: float, width: float) -> None:
    size = auc_size(auc, prevalence, width)
    assert size is not None
    assert auc_width(auc, size * prevalence, size * (1 - prevalence)) <= width
    assert auc_width(auc, (size - 1) * prevalence, (size - 1) * (1 - prevalence)) > width


PAIRS = st.lists(
    st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.7]), st.floats(0, 1, width=32), st.booleans()), min_size=8, max_size=30
)


@SETTINGS
@given(PAIRS)
def test_delongs_test_is_that_of_the_definition(cases: list[tuple[float, float, bool]]) -> None:
    labels = np.array([label for *_, label in cases])
    assume(2 <= labels.sum() <= len(labels) - 2)
    scores = [np.array([case[number] for case in cases], np.float32) for number in (0, 1)]
    psi = [
        np.array([[(one > other) + (one == other) / 2 for other in values[~labels]] for one in values[labels]])
        for values in scores
    ]
    found = delong(labels, *scores)
    assert (found.first, found.second) == pytest.approx((psi[0].mean(), psi[1].mean()), abs=1e-12)
    by_positive, by_negative = (np.stack([matrix.mean(axis=axis) for matrix in psi]) for axis in (1, 0))
    covariance = np.cov(by_positive) / labels.sum() + np.cov(by_negative) / (~labels).sum()
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    width = found.difference.high - found.difference.low
    assert width == pytest.approx(2 * 1.959964 * sqrt(max(variance, 0.0)), abs=1e-6)


def test_equal_scores_do_not_differ_and_have_no_p_value() -> None:
    sample = like_the_paper()
    found = delong(sample.labels, sample.scores, sample.scores)
    assert found.difference.value == 0
    assert np.isnan(found.p_value)


@pytest.mark.parametrize(("first", "second"), [(0, 0), (3, 9), (12, 2), (40, 41)])
def test_mcnemars_test_is_the_exact_one_of_statsmodels(first: int, second: int) -> None:
    right = np.array([[True, False]] * first + [[False, True]] * second + [[True, True]] * 20 + [[False, False]] * 5)
    found = mcnemar(right[:, 0], right[:, 1])
    table = [[20, first], [second, 5]]
    assert (found.first, found.second) == (first, second)
    assert found.p_value == pytest.approx(min(1.0, mcnemar_of_statsmodels(table, exact=True).pvalue))


def test_mcnemars_test_of_three_against_nine_is_a_sum_of_binomials() -> None:
    right = np.array([[True, False]] * 3 + [[False, True]] * 9)
    expected = 2 * sum(comb(12, few) for few in range(4)) / 2**12
    assert mcnemar(right[:, 0], right[:, 1]).p_value == pytest.approx(expected)
