"""Plots show the numbers of the evaluation, whatever they are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.evaluation.made import Exam, files_of, like_the_paper, write_labels, write_results

from bsbatch.evaluation.evaluate import evaluate
from bsbatch.evaluation.performance import Evaluation
from bsbatch.evaluation.plots import (
    calibration_plot,
    confusion_plot,
    decision_plot,
    distinct,
    precision_plot,
    roc_plot,
    score_plot,
)
from bsbatch.evaluation.settings import DecisionSettings, EvaluationConfig, Resampling


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    folder = tmp_path_factory.mktemp("plots")
    out, labels = files_of(folder, like_the_paper())
    return evaluate(EvaluationConfig(out, labels, folder / "report", resampling=Resampling(20)))


def layers_of(plot: dict[str, Any], mark: str) -> list[list[dict[str, Any]]]:
    """Data of the layers of a mark that have any."""
    layers = [layer for layer in plot["layer"] if layer["mark"]["type"] == mark]
    return [layer["data"]["values"] for layer in layers if layer["data"]["values"]]


def legend_of(plot: dict[str, Any]) -> list[str]:
    labels: list[str] = plot["layer"][-1]["encoding"]["shape"]["scale"]["domain"]
    return labels


def test_the_roc_curve_passes_through_the_points_of_the_evaluation(evaluation: Evaluation) -> None:
    plot = roc_plot(evaluation)

    _, curve = layers_of(plot, "line")
    fpr, tpr = evaluation.curves.roc
    points = {(round(x, 3), round(y, 3)) for x, y in zip(fpr.tolist(), tpr.tolist(), strict=True)}
    assert {(row["fpr"], row["tpr"]) for row in curve} == points
    assert [row["fpr"] for row in curve] == sorted(row["fpr"] for row in curve)
    (band,) = layers_of(plot, "area")
    assert [row["low"] for row in band] == [item.low for item in evaluation.curves.roc_grid]


def test_operating_points_of_one_threshold_are_drawn_once(evaluation: Evaluation) -> None:
    points = distinct(evaluation.whole.points)

    markers = layers_of(roc_plot(evaluation), "point")
    assert [item.point.name for item in points] == ["threshold", "youden", "sensitivity"]
    assert [row["threshold"] for (row,) in markers] == [item.point.threshold for item in points]


def test_legends_hold_the_metrics_with_their_intervals(evaluation: Evaluation) -> None:
    auc, brier = evaluation.whole.auc, evaluation.whole.brier
    assert f"AUC {auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f})" in legend_of(roc_plot(evaluation))
    label = f"Model with 95 % interval\nBrier score {brier.value:.3f} ({brier.low:.3f} to {brier.high:.3f})"
    assert label in legend_of(calibration_plot(evaluation))


def test_empty_bins_are_left_out_of_the_calibration_plot(tmp_path: Path) -> None:
    (rows,) = layers_of(calibration_plot(small(tmp_path)), "rule")

    assert [row["examinations"] for row in rows] == [2, 2]
    assert [row["share"] for row in rows] == [0.0, 1.0]


def test_no_line_joins_the_bins_and_bins_of_few_are_hollow(evaluation: Evaluation, tmp_path: Path) -> None:
    for plot, sizes in ((calibration_plot(small(tmp_path)), ([], [2, 2])), (calibration_plot(evaluation), None)):
        assert all("end" in row for rows in layers_of(plot, "line") for row in rows)
        points = [item for item in plot["layer"] if item["mark"].get("stroke") and "opacity" in item["mark"]]
        full, hollow = ([row["examinations"] for row in item["data"]["values"]] for item in points)
        assert all(size >= 10 for size in full)
        assert all(size < 10 for size in hollow)
        assert sizes is None or (full, hollow) == sizes


def test_the_decision_curve_is_drawn_as_far_as_it_matters(evaluation: Evaluation) -> None:
    plot = decision_plot(evaluation)

    _, everyone, model = layers_of(plot, "line")
    assert [row["value"] for row in model][:50] == [item.value for item in evaluation.curves.net_benefit][:50]
    lowest, highest = plot["layer"][0]["encoding"]["y"]["scale"]["domain"]
    assert all(lowest <= row["value"] <= highest for row in (*everyone, *model))
    assert everyone[0]["value"] == pytest.approx(411 / 998 - 587 / 998 / 99)
    assert legend_of(plot)[1:] == ["All positive", "None positive"]


def test_the_precision_curve_ends_at_the_prevalence(evaluation: Evaluation) -> None:
    plot = precision_plot(evaluation)

    chance, curve = layers_of(plot, "line")
    assert [row["precision"] for row in curve] == [item.value for item in evaluation.curves.precision]
    assert {row["precision"] for row in chance} == {evaluation.curves.prevalence}
    found = evaluation.whole.average_precision
    assert f"Average precision {found.value:.3f} ({found.low:.3f} to {found.high:.3f})" in legend_of(plot)


def test_cells_of_the_confusion_matrix_are_shares_of_their_rows(evaluation: Evaluation) -> None:
    cells = {row["rate"][:3]: row for row in confusion_plot(evaluation)["data"]["values"]}

    confusion = evaluation.whole.points[0].confusion
    assert cells["TPR"]["share"] + cells["FNR"]["share"] == pytest.approx(1)
    assert cells["TNR"]["detail"].endswith(f"\n{confusion.true_negatives} of 587")
    assert cells["FPR"]["detail"].endswith(f"\n{confusion.false_positives} of 587")


def test_scores_are_counted_in_20_bins_and_the_last_one_holds_1() -> None:
    plot = score_plot({"one": [0.0, 0.049, 0.05, 1.0], "other": [0.5]}, 0.25)

    one, other = layers_of(plot, "bar")
    counts = [row["examinations"] for row in one]
    assert (len(one), counts[0], counts[1], counts[-1]) == (20, 2, 1, 1)
    assert [row["from"] for row in other if row["examinations"]] == [0.5]
    assert legend_of(plot) == ["one (n = 4)", "other (n = 1)", "Threshold 0.25"]


@pytest.mark.parametrize("plot", [roc_plot, calibration_plot, confusion_plot, precision_plot, decision_plot])
def test_undefined_values_are_null(plot: Callable[[Evaluation], dict[str, Any]], tmp_path: Path) -> None:
    json.dumps(plot(small(tmp_path)), allow_nan=False)


def small(folder: Path) -> Evaluation:
    """Four examinations in two bins, none of them predicted positive."""
    exams = [Exam(str(place), score) for place, score in enumerate((0.11, 0.12, 0.81, 0.82))]
    labels = write_labels(folder / "labels.csv", [{"study_uid": place, "label": place // 2} for place in range(4)])
    decisions = DecisionSettings(threshold=1.0)
    out = write_results(folder / "out", exams)
    return evaluate(EvaluationConfig(out, labels, folder / "report", decisions=decisions, resampling=Resampling(5)))
