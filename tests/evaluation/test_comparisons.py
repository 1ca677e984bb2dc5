"""Subgroups, their differences, thresholds carried between centres, other models, sample sizes and prevalence."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss, recall_score, roc_auc_score
from tests.evaluation.made import Exam, like_the_paper, write_labels, write_results

from bsbatch.errors import UsageError
from bsbatch.evaluation.evaluate import evaluate
from bsbatch.evaluation.metrics_json import content_of
from bsbatch.evaluation.operating import youden
from bsbatch.evaluation.performance import Evaluation
from bsbatch.evaluation.settings import DecisionSettings, EvaluationConfig, Resampling
from bsbatch.evaluation.sizes import plan
from bsbatch.patients.record import band_of

NUMBER = 998
SAMPLE = like_the_paper()
SEX = np.where(np.arange(NUMBER) % 5 < 2, "F", "M")
WARD = np.where(np.arange(NUMBER) % 3, "south", "north")
CENTRE = np.array(list("ABC"))[np.arange(NUMBER) % 3]


def labels_of(folder: Path, changes: Mapping[str, Sequence[object]] | None = None) -> Path:
    columns: dict[str, Sequence[object]] = {
        "study_uid": [f"1.2.{place}" for place in range(NUMBER)],
        "label": [int(label) for label in SAMPLE.labels],
        "centre": list(CENTRE),
        "sex": list(SEX),
        "age": [30 + place % 60 for place in range(NUMBER)],
        "ward": list(WARD),
        **(changes or {}),
    }
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return write_labels(folder / "labels.csv", rows)


def results_of(folder: Path, scores: Sequence[float]) -> Path:
    exams = [Exam(f"1.2.{place}", score, patient=f"P{place}") for place, score in enumerate(scores)]
    return write_results(folder, exams)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return results_of(tmp_path_factory.mktemp("run"), SAMPLE.scores.tolist())


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labels_of(tmp_path_factory.mktemp("labels"))


def evaluate_with(out: Path, labels: Path, **options: Any) -> Evaluation:
    more: dict[str, Any] = {"by": ("ward",), "resampling": Resampling(30)} | options
    return evaluate(EvaluationConfig(out, labels, labels.parent / "report", **more))


@pytest.fixture(scope="module")
def evaluation(out: Path, labels: Path) -> Evaluation:
    return evaluate_with(out, labels)


def test_sex_age_and_named_columns_form_subgroups(evaluation: Evaluation) -> None:
    groups = content_of(evaluation)["subgroups"]
    assert list(groups["sex"]) == ["F", "M"]
    assert list(groups["age"]) == ["0 to 49", "50 to 64", "65 to 74", "75 and over"]
    assert list(groups["ward"]) == ["north", "south"]
    found = groups["ward"]["north"]["metrics"]["auc"]["value"]
    assert found == pytest.approx(
        roc_auc_score(SAMPLE.labels[WARD == "north"], SAMPLE.scores[WARD == "north"]), abs=1e-6
    )


@pytest.mark.parametrize(
    ("age", "band"), [(0, "0 to 49"), (49, "0 to 49"), (50, "50 to 64"), (75, "75 and over"), (130, "75 and over")]
)
def test_bands_of_age_meet_without_a_gap(age: int, band: str) -> None:
    assert band_of(age) == band


def test_differences_are_those_of_two_groups_and_lie_in_their_intervals(evaluation: Evaluation) -> None:
    found = {(item.kind, item.name): item for item in evaluation.fairness}
    assert {kind for kind, _ in found} == {"sex", "age", "ward"}
    item = found["sex", "F"]
    assert item.reference == "M"
    decided = SAMPLE.scores >= 0.5
    sensitivity = [recall_score(SAMPLE.labels[sex == SEX], decided[sex == SEX]) for sex in "FM"]
    specificity = [recall_score(~SAMPLE.labels[sex == SEX], ~decided[sex == SEX]) for sex in "FM"]
    assert item.differences["sensitivity"].value == pytest.approx(sensitivity[0] - sensitivity[1])
    assert item.differences["specificity"].value == pytest.approx(specificity[0] - specificity[1])
    assert all(value.low <= value.value <= value.high for value in item.differences.values())


def test_a_threshold_of_one_centre_is_used_at_another_one(evaluation: Evaluation) -> None:
    found = {(item.origin, item.target, item.rule): item for item in evaluation.transfers}
    assert len(found) == 3 * 2 * 2
    item = found["A", "C", "youden"]
    assert item.threshold == youden(SAMPLE.take(CENTRE == "A"))
    at_c = CENTRE == "C"
    decided = SAMPLE.scores[at_c] >= np.float32(item.threshold)
    assert item.rates["sensitivity"].value == pytest.approx(recall_score(SAMPLE.labels[at_c], decided))
    assert found["A", "B", "youden"].threshold == item.threshold


def test_one_centre_has_nobody_to_carry_a_threshold_to(out: Path, tmp_path: Path) -> None:
    assert evaluate_with(out, labels_of(tmp_path, {"centre": ["A"] * NUMBER})).transfers == ()


def test_a_centre_of_one_class_gives_no_threshold_and_takes_one(out: Path, tmp_path: Path) -> None:
    centres = ["N" if not label and place % 2 else "A" for place, label in enumerate(SAMPLE.labels)]
    (one, other) = evaluate_with(out, labels_of(tmp_path, {"centre": centres})).transfers
    assert {(item.origin, item.target) for item in (one, other)} == {("A", "N")}
    assert np.isnan(one.rates["sensitivity"].value)
    assert 0 < one.rates["specificity"].value < 1


def test_a_column_of_too_many_values_forms_no_subgroups(out: Path, tmp_path: Path) -> None:
    labels = labels_of(tmp_path, {"ward": range(NUMBER)})
    with pytest.raises(UsageError, match="ward has 998 different values, more than 50"):
        evaluate_with(out, labels)


@pytest.mark.parametrize("name", ["study_uid", "label", "patient_id", "manufacturer", "unlike_training"])
def test_some_columns_form_no_subgroups(out: Path, labels: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"--by {name}"):
        evaluate_with(out, labels, by=(name,))


def test_naming_a_subgroup_that_is_formed_anyway_changes_nothing(
    out: Path, labels: Path, evaluation: Evaluation
) -> None:
    found = evaluate_with(out, labels, by=("sex", "ward", "ward"))
    assert content_of(found) == content_of(evaluation)


def test_examinations_unlike_the_training_data_are_a_subgroup(tmp_path: Path) -> None:
    scores = np.random.default_rng(1).random(40).tolist()
    rows = [{"study_uid": f"1.2.{place}", "label": place % 2} for place in range(40)]
    labels = write_labels(tmp_path / "labels.csv", rows)
    for name, unlike in (("with", [place < 10 for place in range(40)]), ("without", [None] * 40)):
        exams = [Exam(f"1.2.{place}", score, is_unlike=unlike[place]) for place, score in enumerate(scores)]
        found = evaluate_with(write_results(tmp_path / name, exams), labels, by=())
        groups = content_of(found)["subgroups"].get("unlike_training", {})
        assert {name: group["n"] for name, group in groups.items()} == ({"no": 30, "yes": 10} if name == "with" else {})


def test_a_better_model_is_recognised_and_counts_of_decisions_add_up(out: Path, labels: Path, tmp_path: Path) -> None:
    noise = like_the_paper(4).scores
    scores = (0.7 * SAMPLE.scores + 0.3 * noise).tolist()
    rivalry = evaluate_with(out, labels, rival=results_of(tmp_path / "b", scores)).rivalry
    assert rivalry is not None
    assert (rivalry.n, rivalry.positives) == (NUMBER, 411)
    assert rivalry.auc.first == pytest.approx(roc_auc_score(SAMPLE.labels, SAMPLE.scores))
    assert rivalry.auc.second == pytest.approx(roc_auc_score(SAMPLE.labels, np.float32(scores)))
    assert rivalry.auc.p_value < 0.001
    gain = rivalry.decisions["all"].second - rivalry.decisions["all"].first
    right = [
        accuracy_score(SAMPLE.labels, values >= 0.5, normalize=False) for values in (SAMPLE.scores, np.float32(scores))
    ]
    assert gain == right[1] - right[0]
    assert sum(rivalry.decisions[name].first for name in ("positives", "negatives")) == rivalry.decisions["all"].first


def test_only_examinations_that_both_runs_scored_are_compared(out: Path, labels: Path, tmp_path: Path) -> None:
    rivalry = evaluate_with(out, labels, rival=results_of(tmp_path / "b", SAMPLE.scores.tolist()[:500])).rivalry
    assert rivalry is not None
    assert (rivalry.n, rivalry.positives) == (500, 411)
    with pytest.raises(UsageError, match="scored 400 of the labelled examinations, 400 of them positive"):
        evaluate_with(out, labels, rival=results_of(tmp_path / "c", SAMPLE.scores.tolist()[:400]))


def test_sizes_follow_from_metrics_and_prevalence(evaluation: Evaluation) -> None:
    content = plan(evaluation)
    rates = evaluation.whole.points[0].rates
    assert content["wanted_width"] == 0.1
    assert content["sensitivity"]["width"] == pytest.approx(
        rates["sensitivity"].high - rates["sensitivity"].low, abs=1e-6
    )
    wide = plan(
        evaluate_with(evaluation.config.results, evaluation.config.labels, decisions=DecisionSettings(width=0.2))
    )
    for name in ("auc", "sensitivity", "specificity"):
        assert 0 < wide[name]["needed"] < content[name]["needed"]


@pytest.mark.parametrize("width", [0.0, 1.0, -0.1])
def test_a_width_outside_0_to_1_is_refused(width: float) -> None:
    with pytest.raises(UsageError, match="--width must lie between 0 and 1"):
        DecisionSettings(width=width)


def test_a_stated_prevalence_reweights_all_that_depends_on_it(out: Path, labels: Path, evaluation: Evaluation) -> None:
    found = evaluate_with(out, labels, decisions=DecisionSettings(prevalence=0.05))
    weights = np.where(SAMPLE.labels, 0.05 / 411, 0.95 / 587)
    decided, scores = SAMPLE.scores >= 0.5, SAMPLE.scores.astype(float)
    rates = found.whole.points[0].rates
    assert found.whole.brier.value == pytest.approx(brier_score_loss(SAMPLE.labels, scores, sample_weight=weights))
    expected = accuracy_score(SAMPLE.labels, decided, sample_weight=weights)
    assert rates["accuracy"].value == pytest.approx(expected)
    assert found.curves.prevalence == pytest.approx(0.05)
    assert found.whole.auc == evaluation.whole.auc
    assert rates["sensitivity"] == evaluation.whole.points[0].rates["sensitivity"]
    assert found.whole.average_precision.value < evaluation.whole.average_precision.value
