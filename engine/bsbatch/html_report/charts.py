"""Charts of the page as Vega-Lite specifications, sized to their container and coloured for light and dark pages."""

from collections.abc import Iterable, Mapping

from bsbatch.evaluation.performance import Evaluation
from bsbatch.evaluation.plots import (
    NEGATIVE,
    POSITIVE,
    calibration_plot,
    decision_plot,
    interval_row,
    precision_plot,
    roc_plot,
    score_plot,
)
from bsbatch.evaluation.vega_lite import Palette, Spec, layer, plot, quantity
from bsbatch.html_report.examinations import ExaminationRow
from bsbatch.html_report.words import STAGES

SCREEN = Palette("#1f9d8f", "#3b86c6", "#e0762a", "#8a8f98")
"""Near Okabe and Ito's palette, which is safe for colour-blind readers, and light enough for a dark page."""
_ALL, _UNLABELLED = "All scored", "No label"
_ROW_HEIGHT, _AXIS_HEIGHT = 24, 40
"""CSS pixels of a row of a bar chart, and of its axis."""
_RATE_ROOM = 1.25
"""Width of a bar chart in that of its longest bar: a rate stands behind it."""


def score_chart(examinations: Iterable[ExaminationRow], labels: Mapping[str, bool], threshold: float | None) -> Spec:
    """Plot the distribution of scores, by label if there are labels (``exam_id`` -> True if positive)."""
    scores: dict[str, list[float]] = {NEGATIVE: [], POSITIVE: []} if labels else {}
    for item in examinations:
        if item.score is not None:
            scores.setdefault(_group_of(item.exam_id, labels), []).append(item.score)
    return fit_plot(score_plot(scores, threshold, SCREEN))


def stage_chart(stages: Mapping[str, Mapping[str, float]]) -> Spec:
    """Plot the busy seconds of each stage, summed over all threads, and its rate."""
    rows = [
        {
            "stage": STAGES.get(name, name),
            "busy seconds": stage["seconds"],
            "items": stage["items"],
            "rate": f"{stage['items_per_second']:,.1f}/s",
        }
        for name, stage in sorted(stages.items(), key=lambda item: -item[1]["seconds"])
    ]
    longest = max(stage["seconds"] for stage in stages.values())
    scale, axis = {"domainMax": _RATE_ROOM * longest}, {"labelBound": True}
    x = quantity("busy seconds", "Busy seconds", scale=scale, axis=axis)
    axes = {"x": x, "y": _category("stage")}
    tooltip = [{"field": name} for name in ("stage", "busy seconds", "items", "rate")]
    content = plot(
        "Throughput by stage",
        layer({"type": "bar", "color": SCREEN.model}, axes | {"tooltip": tooltip}, rows),
        layer({"type": "text", "align": "left", "dx": 4}, axes | {"text": {"field": "rate"}}, rows),
    )
    return fit_plot(content, _ROW_HEIGHT * len(rows) + _AXIS_HEIGHT)


def roc_chart(evaluation: Evaluation) -> Spec:
    """Plot the ROC curve with its pointwise interval and the operating points."""
    return fit_plot(roc_plot(evaluation, SCREEN), 340)


def calibration_chart(evaluation: Evaluation) -> Spec:
    """Plot the share of positives against the mean score of each bin."""
    return fit_plot(calibration_plot(evaluation, SCREEN), 340)


def precision_chart(evaluation: Evaluation) -> Spec:
    """Plot the precision at each recall."""
    return fit_plot(precision_plot(evaluation, SCREEN), 340)


def decision_chart(evaluation: Evaluation) -> Spec:
    """Plot the net benefit at each threshold."""
    return fit_plot(decision_plot(evaluation, SCREEN), 340)


def group_chart(evaluation: Evaluation) -> Spec | None:
    """Plot the ROC AUC of each subgroup with its interval; None if it is undefined in every subgroup."""
    rows = [
        {"group": f"{group.kind} {group.name}", "examinations": group.performance.sample.size}
        | interval_row(group.performance.auc)
        for group in evaluation.groups
    ]
    rows = [row | {"AUC": row["value"]} for row in rows if row["value"] is not None]
    if not rows:
        return None
    x, y = quantity("AUC", "ROC AUC", scale={"zero": False}), _category("group")
    point = {"type": "point", "filled": True, "size": 60, "color": SCREEN.model, "opacity": 1, "tooltip": True}
    content = plot(
        "ROC AUC by subgroup",
        layer(
            {"type": "rule", "color": SCREEN.model}, {"x": x | {"field": "low"}, "x2": {"field": "high"}, "y": y}, rows
        ),
        layer(point, {"x": x, "y": y}, rows),
    )
    return fit_plot(content, _ROW_HEIGHT * len(rows) + _AXIS_HEIGHT)


def _group_of(exam_id: str, labels: Mapping[str, bool]) -> str:
    if not labels:
        return _ALL
    return (POSITIVE if labels[exam_id] else NEGATIVE) if exam_id in labels else _UNLABELLED


def fit_plot(content: Spec, height: int = 260) -> Spec:
    """Fit a plot to the width of its container."""
    return content | {"width": "container", "height": height, "autosize": {"type": "fit-x", "contains": "padding"}}


def _category(field: str) -> Spec:
    return {"field": field, "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 220}}
