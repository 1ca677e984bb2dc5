from collections import Counter
from typing import Any

import numpy as np
import pytest

from bsbatch.html_report.charts import group_chart, score_chart, stage_chart
from bsbatch.html_report.examinations import Shown
from bsbatch.registry import load

SCORES = [0.0, 0.039, 0.04, 0.5, 0.999, 1.0]


def shown(score: float | None, exam_id: str = "x") -> Shown:
    return Shown(exam_id, score, False, 0.5, None, "", "", (), (), (None, None))


def bars(chart: dict[str, Any]) -> Any:
    return chart["data"]["values"]


def test_every_score_is_in_its_bin() -> None:
    chart = score_chart([*map(shown, SCORES), shown(None)], {}, 0.5)

    found = {round(bar["from"] * 25): bar["examinations"] for bar in bars(chart)}

    counts, _ = np.histogram(SCORES, bins=np.linspace(0, 1, 26))
    assert found == {place: count for place, count in enumerate(counts) if count}


def test_scores_are_told_apart_by_what_is_known() -> None:
    examinations = [shown(0.9, "a"), shown(0.9, "b"), shown(0.9, "c")]

    chart = score_chart(examinations, {"a": True, "b": False}, None)

    assert Counter(bar["known"] for bar in bars(chart)) == {"metastasis": 1, "no metastasis": 1, "no label": 1}


def test_stages_come_busiest_first_in_words() -> None:
    stages = {
        "header": {"seconds": 1.0, "items": 10, "items_per_second": 10.0},
        "infer": {"seconds": 9.0, "items": 9, "items_per_second": 1.0},
        "new": {"seconds": 2.0, "items": 1, "items_per_second": 0.5},
    }

    assert [bar["stage"] for bar in bars(stage_chart(stages))] == ["run the model", "new", "read headers"]


def test_groups_without_a_curve_have_no_chart() -> None:
    nothing = {"n": 3, "metrics": {"auc": {"value": None, "low": None, "high": None}}}

    assert group_chart({"subgroups": {"centre": {"A": nothing}}}) is None


@pytest.mark.parametrize("threshold", [None, 0.5])
def test_vega_lite_takes_the_specification(threshold: float | None) -> None:
    compiled = load("vl_convert:vegalite_to_vega")(score_chart(map(shown, SCORES), {}, threshold))

    kinds = [mark["marks"][0]["type"] if "marks" in mark else mark["type"] for mark in compiled["marks"]]
    assert ("rule" in kinds) == (threshold is not None)
    assert "rect" in kinds
