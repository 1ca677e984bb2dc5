from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.evaluation.made import Exam, files_of, like_the_paper, write_labels, write_results
from vl_convert import vegalite_to_vega

from bsbatch.evaluation.evaluate import evaluate
from bsbatch.evaluation.performance import Evaluation
from bsbatch.evaluation.settings import EvaluationConfig, Resampling
from bsbatch.html_report.charts import calibration_chart, group_chart, roc_chart, score_chart, stage_chart
from bsbatch.html_report.examinations import ExaminationRow

SCORES = [0.0, 0.049, 0.05, 0.5, 0.999, 1.0]


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    folder = tmp_path_factory.mktemp("charts")
    out, labels = files_of(folder, like_the_paper())
    return evaluate(EvaluationConfig(out, labels, folder / "report", resampling=Resampling(20)))


def row(score: float | None, exam_id: str = "x") -> ExaminationRow:
    return ExaminationRow(exam_id, score, False, 0.5, None, "", "", (), (), (None, None))


def rows_of(chart: dict[str, Any], mark: str = "bar") -> list[dict[str, Any]]:
    layers = [layer for layer in chart["layer"] if layer["mark"]["type"] == mark]
    return [row for layer in layers for row in layer["data"]["values"]]


def test_every_score_is_in_its_bin() -> None:
    chart = score_chart([*map(row, SCORES), row(None)], {}, 0.5)

    counts, _ = np.histogram(SCORES, bins=np.linspace(0, 1, 21))
    assert [bar["examinations"] for bar in rows_of(chart)] == counts.tolist()
    assert {bar["group"] for bar in rows_of(chart)} == {"All scored"}


def test_scores_are_grouped_by_label() -> None:
    examinations = [row(0.9, "a"), row(0.9, "b"), row(0.9, "c")]

    chart = score_chart(examinations, {"a": True, "b": False}, None)

    groups = Counter({bar["group"]: bar["examinations"] for bar in rows_of(chart) if bar["examinations"]})
    assert groups == {"Metastasis": 1, "No metastasis": 1, "No label": 1}


def test_stages_come_busiest_first_in_words() -> None:
    stages = {
        "header": {"seconds": 1.0, "items": 10, "items_per_second": 10.0},
        "infer": {"seconds": 9.0, "items": 9, "items_per_second": 1.0},
        "new": {"seconds": 2.0, "items": 1, "items_per_second": 0.5},
    }

    assert [bar["stage"] for bar in rows_of(stage_chart(stages))] == ["run the model", "new", "read headers"]


def test_groups_without_a_curve_have_no_chart(tmp_path: Path) -> None:
    exams = [Exam(str(place), place / 9, f"Camera {place}") for place in range(10)]
    labels = write_labels(tmp_path / "labels.csv", [{"study_uid": place, "label": place % 2} for place in range(10)])
    config = EvaluationConfig(write_results(tmp_path, exams), labels, tmp_path / "report", resampling=Resampling(5))

    assert group_chart(evaluate(config)) is None


def test_groups_are_those_of_the_evaluation(evaluation: Evaluation) -> None:
    chart = group_chart(evaluation)

    assert chart is not None
    names = [f"{group.kind} {group.name}" for group in evaluation.groups]
    assert [item["group"] for item in rows_of(chart, "point")] == names


@pytest.mark.parametrize("threshold", [None, 0.5])
def test_vega_lite_compiles_the_scores(threshold: float | None) -> None:
    compiled = vegalite_to_vega(score_chart(map(row, SCORES), {}, threshold))

    kinds = [mark["marks"][0]["type"] if "marks" in mark else mark["type"] for mark in compiled["marks"]]
    assert ("rule" in kinds) == (threshold is not None)
    assert "rect" in kinds


@pytest.mark.parametrize("chart", [roc_chart, calibration_chart, group_chart])
def test_vega_lite_compiles_the_charts_of_an_evaluation(chart: Any, evaluation: Evaluation) -> None:
    assert vegalite_to_vega(chart(evaluation))["marks"]
