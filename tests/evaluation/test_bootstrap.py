"""Intervals agree with a slow second implementation, patients stay together, resamples of one class are drawn again."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score, precision_score, recall_score, roc_auc_score
from tests.evaluation.made import like_the_paper, sample_of

from bsbatch.evaluation import bootstrap as module
from bsbatch.evaluation.bootstrap import Interval, bootstrap, draw, interval, weights_of
from bsbatch.evaluation.evaluate import assess, trace
from bsbatch.evaluation.performance import OperatingPoint, Performance
from bsbatch.evaluation.sample import Floats, Sample
from bsbatch.evaluation.settings import EvaluationConfig, Resampling

POINT = OperatingPoint("threshold", 0.5, "")
SKLEARN: dict[str, Callable[..., float]] = {
    "sensitivity": recall_score,
    "f1": f1_score,
    "accuracy": accuracy_score,
    "ppv": precision_score,
}


def config_of(resamples: int, seed: int = 0) -> EvaluationConfig:
    return EvaluationConfig(Path("out"), Path("labels.csv"), Path("report"), resampling=Resampling(resamples, seed))


def assess_once(sample: Sample, resamples: int, seed: int = 0) -> Performance:
    return assess(sample, (POINT,), config_of(resamples, seed))


def part_of_the_paper(patients: int) -> Sample:
    sample = like_the_paper()
    return sample.take(sample.patients % (800 // patients) == 0)


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def check(found: Interval, values: list[float]) -> None:
    assert found.low == pytest.approx(percentile(values, 0.025), abs=1e-12)
    assert found.high == pytest.approx(percentile(values, 0.975), abs=1e-12)


def test_intervals_are_those_of_a_slow_implementation_over_the_same_patients() -> None:
    sample, resamples = part_of_the_paper(80), 60
    found = assess_once(sample, resamples, seed=5)
    assert found.redrawn == 0
    patients = np.random.default_rng(5).integers(0, sample.patient_count, (resamples, sample.patient_count))
    values: dict[str, list[float]] = {name: [] for name in ("auc", "brier", "specificity", *SKLEARN)}
    for row in patients:
        members = [place for patient in row for place in np.flatnonzero(sample.patients == patient)]
        scores, labels = sample.scores[members].astype(float), sample.labels[members]
        values["auc"].append(float(roc_auc_score(labels, scores)))
        values["brier"].append(float(brier_score_loss(labels, scores)))
        values["specificity"].append(float(recall_score(~labels, scores < 0.5)))
        for name, score in SKLEARN.items():
            values[name].append(float(score(labels, scores >= 0.5)))
    check(found.auc, values.pop("auc"))
    check(found.brier, values.pop("brier"))
    for name, replicates in values.items():
        check(found.points[0].rates[name], replicates)


def test_examinations_of_one_patient_carry_no_information_of_their_own() -> None:
    """Each patient four times: equal intervals with patient numbers, too narrow ones without."""
    single = sample_of([0.1, 0.4, 0.35, 0.8, 0.2, 0.7, 0.6, 0.9, 0.3, 0.55], [0, 0, 1, 1, 0, 1, 0, 1, 0, 1])
    chosen = np.repeat(np.arange(10), 4)
    scores, labels = list(single.scores[chosen]), list(single.labels[chosen])
    together = assess_once(sample_of(scores, labels, list(chosen)), 400)
    apart = assess_once(sample_of(scores, labels), 400)
    assert together.auc == assess_once(single, 400).auc
    assert apart.auc.high - apart.auc.low < 0.7 * (together.auc.high - together.auc.low)


def test_a_patient_weighs_as_often_as_it_was_drawn() -> None:
    sample = sample_of([0.1, 0.2, 0.3, 0.4], [0, 1, 0, 1], [0, 0, 1, 2])
    weights = weights_of(np.array([[0, 0, 2], [1, 1, 1]]), sample)
    np.testing.assert_array_equal(weights, [[2, 2, 0, 1], [0, 0, 3, 0]])


def test_a_resample_of_one_class_is_drawn_again_and_counted() -> None:
    sample = sample_of([0.1, 0.2, 0.3, 0.4, 0.9], [0, 0, 0, 0, 1])
    drawn, redrawn = draw(np.random.default_rng(0), sample, 500)
    assert drawn.shape == (500, 5)
    assert redrawn > 100
    assert (drawn == 4).any(axis=1).all()
    assert (drawn != 4).any(axis=1).all()
    performance = assess_once(sample, 500)
    assert performance.redrawn == redrawn
    assert performance.auc == Interval(1.0, 1.0, 1.0)


def test_a_group_of_one_class_has_no_auc_and_keeps_what_is_defined() -> None:
    performance = assess_once(sample_of([0.1, 0.6, 0.3], [0, 0, 0]), 50)
    assert np.isnan([performance.auc.value, performance.auc.low]).all()
    assert performance.redrawn == 0
    assert performance.points[0].rates["specificity"].value == pytest.approx(2 / 3)
    assert np.isnan(performance.points[0].rates["sensitivity"].value)


def test_a_group_of_one_examination_has_intervals_without_width() -> None:
    assert assess_once(sample_of([0.7], [1]), 20).points[0].rates["sensitivity"] == Interval(1.0, 1.0, 1.0)


def test_resamples_without_a_value_are_left_out_and_counted() -> None:
    found = interval(0.5, np.array([np.nan, 0.25, 0.25, np.nan]))
    assert found == Interval(0.5, 0.25, 0.25, 2)


def test_the_interval_holds_the_true_auc_about_as_often_as_it_says() -> None:
    """Scores of a known AUC, normal distributions one standard deviation apart: Phi(1 / sqrt 2) = 0.760."""
    hits = 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        labels = np.arange(120) < 50
        latent = generator.normal(size=120) + labels
        found = assess_once(sample_of(list(1 / (1 + np.exp(-latent))), list(labels)), 200, seed)
        hits += found.auc.low <= 0.760 <= found.auc.high
    assert 51 <= hits <= 60


def test_the_same_seed_gives_the_same_intervals_and_another_one_others() -> None:
    sample = part_of_the_paper(80)
    assert assess_once(sample, 100, 7).auc == assess_once(sample, 100, 7).auc
    assert assess_once(sample, 100, 7).auc != assess_once(sample, 100, 8).auc


def test_large_samples_are_resampled_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 1000)
    sample = part_of_the_paper(80)
    sizes: list[int] = []

    def statistics(weights: Floats) -> dict[str, Floats]:
        sizes.append(len(weights))
        return {"drawn": weights.sum(axis=1)}

    assert bootstrap(sample, Resampling(50), statistics).values["drawn"].shape == (50,)
    assert sum(sizes) == 50
    assert max(sizes) * sample.size <= 1000


def test_curves_lie_in_their_intervals() -> None:
    curves = trace(part_of_the_paper(200), config_of(200))
    inside = [item.low <= item.value <= item.high for item in curves.roc_grid]
    assert sum(inside) >= 0.95 * len(inside)
    for size, item in zip(curves.calibration.sizes, curves.fractions, strict=True):
        assert size == 0 or item.low <= item.value <= item.high


def test_2000_resamples_of_998_examinations_take_seconds_at_most() -> None:
    sample, started = like_the_paper(), time.perf_counter()
    assess_once(sample, 2000)
    trace(sample, config_of(2000))
    assert time.perf_counter() - started < 5
