"""The figures of a page as Vega-Lite specifications: data and marks; colours and letters come from the page's style."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bsbatch.html_report.examinations import Shown
from bsbatch.html_report.words import POINTS, STAGES

Spec = dict[str, Any]

_BINS = 25
_BLUE, _ORANGE, _GREY = "#3b86c6", "#e0762a", "#8a8f98"
"""Near Okabe and Ito's blue and vermilion, light enough for a dark page: told apart by colour-blind readers."""
_UNLABELLED, _KNOWN = "all scored", ("no metastasis", "metastasis")


def score_chart(examinations: Iterable[Shown], truth: Mapping[str, bool], threshold: float | None) -> Spec:
    """How many examinations have which score, by what is known of them where there are labels."""
    counts: dict[tuple[int, str], int] = {}
    for item in examinations:
        if item.score is not None:
            key = min(int(item.score * _BINS), _BINS - 1), _known(item.exam_id, truth)
            counts[key] = counts.get(key, 0) + 1
    values = [
        {"from": place / _BINS, "to": (place + 1) / _BINS, "examinations": count, "known": known}
        for (place, known), count in sorted(counts.items())
    ]
    bars = {
        "mark": {"type": "bar", "tooltip": True, "binSpacing": 1},
        "encoding": {
            "x": _axis("from", "Probability of metastasis", scale={"domain": [0, 1]}, bin={"binned": True}),
            "x2": {"field": "to"},
            "y": _axis("examinations", "Examinations", stack="zero", axis={"tickMinStep": 1}),
            "color": _colours([*_KNOWN, "no label"] if truth else [_UNLABELLED], [_BLUE, _ORANGE, _GREY]),
        },
    }
    return _chart("Distribution of scores", values, [bars, *_threshold(threshold)])


def stage_chart(stages: Mapping[str, Mapping[str, float]]) -> Spec:
    """Busy seconds of each stage, all threads added up, and its rate."""
    values = [
        {
            "stage": STAGES.get(name, name),
            "busy seconds": figures["seconds"],
            "items": figures["items"],
            "rate": f"{figures['items_per_second']:,.1f}/s",
        }
        for name, figures in sorted(stages.items(), key=lambda item: -item[1]["seconds"])
    ]
    y = {"field": "stage", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 220}}
    x = _axis("busy seconds", "Busy seconds, all threads added up")
    tips = [{"field": name} for name in ("stage", "busy seconds", "items", "rate")]
    bars = {"mark": {"type": "bar", "color": _BLUE}, "encoding": {"x": x, "y": y, "tooltip": tips}}
    words = {
        "mark": {"type": "text", "align": "left", "dx": 4},
        "encoding": {"x": x, "y": y, "text": {"field": "rate"}},
    }
    return _chart("Throughput by stage", values, [bars, words], height=24 * len(values) + 40)


def roc_chart(evaluation: Mapping[str, Any]) -> Spec:
    """The ROC curve with its pointwise interval and the operating points."""
    roc = evaluation["roc"]
    values = [
        {"fpr": fpr, "tpr": tpr, "low": low, "high": high}
        for fpr, tpr, low, high in zip(*(roc[name] for name in ("fpr", "tpr", "low", "high")), strict=True)
    ]
    points = [
        {
            "fpr": point["confusion"]["fpr"]["value"],
            "tpr": point["confusion"]["tpr"]["value"],
            "operating point": POINTS[name],
            "threshold": point["threshold"],
        }
        for name, point in evaluation["operating_points"].items()
    ]
    x = _axis("fpr", "False positive rate (1 - specificity)", scale={"domain": [0, 1]})
    y = _axis("tpr", "True positive rate (sensitivity)", scale={"domain": [0, 1]})
    tips = [{"field": name} for name in ("operating point", "threshold", "fpr", "tpr")]
    layers = [
        _diagonal(),
        {
            "mark": {"type": "area", "opacity": 0.25, "color": _BLUE},
            "encoding": {"x": x, "y": _axis("low", y["title"]), "y2": {"field": "high"}},
        },
        {"mark": {"type": "line", "color": _BLUE}, "encoding": {"x": x, "y": y}},
        {
            "data": {"values": points},
            "mark": {"type": "point", "filled": True, "size": 70, "color": _ORANGE, "opacity": 1},
            "encoding": {"x": x, "y": y, "shape": _shape(), "tooltip": tips},
        },
    ]
    return _chart("ROC curve", values, layers, height=300)


def calibration_chart(evaluation: Mapping[str, Any]) -> Spec:
    """Share of positives against the mean score, bin by bin."""
    values = [
        {"mean score": item["mean_score"], "share": share["value"], "low": share["low"], "high": share["high"]}
        | {"examinations": item["n"]}
        for item in evaluation["calibration"]
        if item["n"] and (share := item["positive_share"])
    ]
    x = _axis("mean score", "Mean score in the bin", scale={"domain": [0, 1]})
    y = _axis("share", "Share with metastasis", scale={"domain": [0, 1]})
    layers = [
        _diagonal(),
        {
            "mark": {"type": "rule", "color": _BLUE, "strokeWidth": 3, "opacity": 0.4},
            "encoding": {"x": x, "y": _axis("low", y["title"]), "y2": {"field": "high"}},
        },
        {
            "mark": {"type": "line", "color": _BLUE, "point": {"size": 50}, "tooltip": True},
            "encoding": {"x": x, "y": y},
        },
    ]
    return _chart("Calibration", values, layers, height=300)


def group_chart(evaluation: Mapping[str, Any]) -> Spec | None:
    """ROC AUC of each subgroup with its interval; None where there is no group with one."""
    values = [
        {
            "group": f"{kind} {name}",
            "AUC": auc["value"],
            "low": auc["low"],
            "high": auc["high"],
            "examinations": item["n"],
        }
        for kind, groups in evaluation["subgroups"].items()
        for name, item in groups.items()
        if (auc := item["metrics"]["auc"])["value"] is not None
    ]
    if not values:
        return None
    y = {"field": "group", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 220}}
    x = _axis("AUC", "ROC AUC", scale={"zero": False})
    layers = [
        {
            "mark": {"type": "rule", "color": _BLUE},
            "encoding": {"x": _axis("low", x["title"], scale={"zero": False}), "x2": {"field": "high"}, "y": y},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 60, "color": _BLUE, "opacity": 1, "tooltip": True},
            "encoding": {"x": x, "y": y},
        },
    ]
    return _chart("ROC AUC by subgroup", values, layers, height=22 * len(values) + 40)


def _known(exam_id: str, truth: Mapping[str, bool]) -> str:
    if not truth:
        return _UNLABELLED
    return "no label" if exam_id not in truth else _KNOWN[truth[exam_id]]


def _chart(title: str, values: Sequence[Spec], layers: Sequence[Spec], height: int = 240) -> Spec:
    return {
        "description": title,
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "data": {"values": list(values)},
        "layer": list(layers),
    }


def _axis(field: str, title: str, **more: Any) -> Spec:
    return {"field": field, "type": "quantitative", "title": title, **more}


def _colours(names: list[str], colours: list[str]) -> Spec:
    legend = None if len(names) == 1 else {"orient": "top", "title": None}
    scale = {"domain": names, "range": colours[: len(names)]}
    return {"field": "known", "type": "nominal", "scale": scale, "legend": legend}


def _shape() -> Spec:
    return {"field": "operating point", "type": "nominal", "legend": {"orient": "bottom", "title": None, "columns": 2}}


def _threshold(threshold: float | None) -> list[Spec]:
    if threshold is None:
        return []
    rule = {"mark": {"type": "rule", "strokeDash": [5, 4], "strokeWidth": 1.5, "color": _GREY}}
    tip = {"value": f"threshold {threshold:.4g}"}
    return [
        rule
        | {
            "data": {"values": [{"at": threshold}]},
            "encoding": {"x": {"field": "at", "type": "quantitative"}, "tooltip": tip},
        }
    ]


def _diagonal() -> Spec:
    ends = [{"x": end, "y": end} for end in (0, 1)]
    mark = {"type": "line", "strokeDash": [2, 3], "color": _GREY, "strokeWidth": 1}
    encoding = {name: {"field": name, "type": "quantitative"} for name in ("x", "y")}
    return {"data": {"values": ends}, "mark": mark, "encoding": encoding}
