"""Plots of an evaluation as Vega-Lite specifications, drawn by `plot_files` and by the page of a report.

The module that draws a specification adds size, fonts and title.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import isnan

import numpy as np

from bsbatch.evaluation.bootstrap import Interval
from bsbatch.evaluation.performance import BINS, GRID, Curves, Evaluation, PointPerformance
from bsbatch.evaluation.statistics.utility import THRESHOLDS, treat_all
from bsbatch.evaluation.vega_lite import LegendEntry, Palette, Row, Spec, layer, legend, plot, quantity

PRINT = Palette("#009E73", "#0072B2", "#D55E00", "#6B6B6B")
"""For white paper, from the palette of Okabe and Ito, which is safe for colour-blind readers."""
NEGATIVE, POSITIVE = "No metastasis", "Metastasis"
"""Names of the two classes in a plot of scores."""
FEW = 10
"""Examinations of a bin of the calibration below which its point is hollow. No line joins the points: between bins of
two it would show a shape that nobody measured."""
SCORE_BINS = 20
"""Bins of the histogram of scores, equally wide on [0, 1]."""
_HOLLOW = "white"
_CURVE_DIGITS = 3
"""Digits of the points of a ROC curve: finer steps are not visible."""
_UNIT = {"scale": {"domain": [0, 1]}, "axis": {"values": [0, 0.2, 0.4, 0.6, 0.8, 1], "format": ".1f"}}
_MARKERS = {"threshold": "circle", "half": "square", "youden": "diamond", "sensitivity": "triangle-up"}
_NAMES = {"threshold": "Threshold", "half": "Half", "youden": "Youden", "sensitivity": "Chosen sensitivity"}
_BLUES = ("#f7fbff", "#deebf7", "#c6dbef", "#9ecae1", "#6baed6", "#4292c6", "#2171b5", "#08519c", "#08306b")
"""ColorBrewer's Blues."""
_BLUES_END = 1.15
"""Share at the dark end of the blues, so that a cell of 100 % is not the darkest."""
_DARK = 0.65
"""Share from which text on a cell is white."""
_CORNER = 0.25
"""Part of an axis that a legend in a corner leaves free."""
_POINT = 4 / 3
"""CSS pixels in a typographic point."""


def roc_plot(evaluation: Evaluation, palette: Palette = PRINT) -> Spec:
    """Plot the ROC curve with its pointwise interval and the operating points."""
    points = distinct(evaluation.whole.points)
    x = quantity("fpr", "False positive rate (1 - specificity)", **_UNIT)
    y = quantity("tpr", "True positive rate (sensitivity)", **_UNIT)
    band = {"x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}}
    curve = np.unique(np.stack(evaluation.curves.roc, axis=1).round(_CURVE_DIGITS), axis=0)
    entries = [
        LegendEntry("95 % interval, pointwise", "transparent", palette.model, "square", opacity=0.2),
        LegendEntry(f"AUC {_with_interval(evaluation.whole.auc)}", palette.model),
        LegendEntry("Chance", palette.reference, dash=(1, 2)),
        *(LegendEntry(_point_label(item), "white", palette.model, _MARKERS[item.point.name]) for item in points),
    ]
    return plot(
        "ROC curve",
        layer(_band(palette), band, _band_rows(evaluation.curves)),
        _diagonal(x, y, palette),
        layer(_line(palette), {"x": x, "y": y}, ({"fpr": fpr, "tpr": tpr} for fpr, tpr in curve.tolist())),
        *(_point_marker(item, x, y, palette) for item in points),
        legend(entries, orient="bottom-right"),
    )


def calibration_plot(evaluation: Evaluation, palette: Palette = PRINT) -> Spec:
    """Plot the share of positives against the mean score of each bin, with intervals and numbers of examinations."""
    rows = _calibration_rows(evaluation.curves, palette)
    x = quantity("mean score", "Mean score in the bin", **_UNIT)
    y = quantity("share", "Share with metastasis in the bin", **_UNIT)
    above = {"value": -9}
    text = {"type": "text", "color": palette.reference, "fontSize": 6.5 * _POINT, "baseline": "middle"}
    interval = {"type": "rule", "color": palette.model, "strokeWidth": 3.3, "opacity": 0.45}
    point = {"type": "point", "size": 45, "stroke": palette.model, "opacity": 1, "tooltip": True}
    return plot(
        "Calibration",
        _diagonal(x, y, palette),
        layer(interval, {"x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}}, rows),
        *(
            layer(point | {"fill": fill}, {"x": x, "y": y}, [row for row in rows if row["fill"] == fill])
            for fill in (palette.model, _HOLLOW)
        ),
        layer(text, {"x": x, "y": above, "text": {"field": "examinations"}}, rows),
        layer(text | {"text": "n", "fontStyle": "italic", "align": "right"}, {"x": {"value": -5}, "y": above}, [{}]),
        legend(_calibration_entries(evaluation, palette), orient=_emptier_corner(evaluation.curves)),
    )


def precision_plot(evaluation: Evaluation, palette: Palette = PRINT) -> Spec:
    """Plot the precision at each recall with its pointwise interval, and the precision of chance."""
    curves = evaluation.curves
    rows = [
        interval_row(item) | {"recall": recall, "precision": _number(item.value)}
        for recall, item in zip(GRID.tolist(), curves.precision, strict=True)
    ]
    x = quantity("recall", "Recall (sensitivity)", **_UNIT)
    y = quantity("precision", "Precision (PPV)", **_UNIT)
    ends = [{"recall": end, "precision": curves.prevalence} for end in (0, 1)]
    entries = [
        LegendEntry("95 % interval, pointwise", "transparent", palette.model, "square", opacity=0.2),
        LegendEntry(f"Average precision {_with_interval(evaluation.whole.average_precision)}", palette.model),
        LegendEntry(f"Chance (prevalence {curves.prevalence:.3f})", palette.reference, dash=(1, 2)),
    ]
    return plot(
        "Precision and recall",
        layer(_band(palette), {"x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}}, rows),
        layer(_reference(palette), {"x": x, "y": y}, ends),
        layer(_line(palette), {"x": x, "y": y}, rows),
        legend(entries, orient="bottom-left"),
    )


def decision_plot(evaluation: Evaluation, palette: Palette = PRINT) -> Spec:
    """Plot the net benefit at each threshold with its interval, and those of treating all and none."""
    curves = evaluation.curves
    lowest, highest = -0.1 * curves.prevalence, 1.1 * curves.prevalence
    rows = [
        {name: _clamp(value, lowest, highest) for name, value in interval_row(item).items()} | {"threshold": threshold}
        for threshold, item in zip(THRESHOLDS.tolist(), curves.net_benefit, strict=True)
    ]
    all_rows = [
        {"threshold": threshold, "value": value}
        for threshold, value in zip(THRESHOLDS.tolist(), treat_all(curves.prevalence).tolist(), strict=True)
        if value >= lowest
    ]
    x = quantity("threshold", "Threshold probability", **_UNIT)
    y = quantity("value", "Net benefit", scale={"domain": [lowest, highest]})
    entries = [
        LegendEntry("Model with 95 % interval, pointwise", palette.model),
        LegendEntry("All positive", palette.positive, dash=(4, 3)),
        LegendEntry("None positive", palette.reference, dash=(1, 2)),
    ]
    return plot(
        "Decision curve",
        layer(_band(palette), {"x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}}, rows),
        layer(_reference(palette), {"x": x, "y": y}, [{"threshold": end, "value": 0} for end in (0, 1)]),
        layer(_reference(palette) | {"color": palette.positive, "strokeDash": [4, 3]}, {"x": x, "y": y}, all_rows),
        layer(_line(palette), {"x": x, "y": y}, rows),
        legend(entries, orient="top-right"),
    )


def score_plot(scores: Mapping[str, Sequence[float]], threshold: float | None, palette: Palette = PRINT) -> Spec:
    """Plot histograms of scores, one over the other, and the threshold.

    Parameters
    ----------
    scores
        Scores in [0, 1] of up to three groups, by name; their colours are those of the palette in its order.
    threshold
        Smallest score that counts as positive, in [0, 1]; None draws no line.
    palette
        Colours.
    """
    layers: list[Spec] = []
    entries: list[LegendEntry] = []
    for (name, values), colour in zip(
        scores.items(), (palette.negative, palette.positive, palette.reference), strict=False
    ):
        layers += _histogram(name, values, colour)
        entries.append(LegendEntry(f"{name} (n = {len(values)})", colour, colour, "square"))
    if threshold is not None:
        mark = {"type": "rule", "color": palette.reference, "strokeDash": [4, 3], "strokeWidth": 1.3}
        encoding = {"x": quantity("score", _SCORE), "tooltip": {"value": f"threshold {threshold:.4g}"}}
        layers.append(layer(mark, encoding, [{"score": threshold}]))
        entries.append(LegendEntry(f"Threshold {threshold:.3g}", palette.reference, dash=(3, 2)))
    return plot("Scores", *layers, legend(entries, orient="top", columns=2))


def confusion_plot(evaluation: Evaluation) -> Spec:
    """Plot the confusion matrix at the first operating point: share of each row, interval and counts of each cell."""
    item = evaluation.whole.points[0]
    nominal = {"type": "nominal", "sort": None}
    bare = {"domain": False, "ticks": False, "labelPadding": 6}
    axes = {
        "x": nominal | {"field": "predicted", "title": "Predicted", "axis": bare | {"labelAngle": 0}},
        "y": nominal | {"field": "label", "title": "Known (share of each row, %)", "axis": bare | {"labelAngle": -90}},
    }
    shades = {"domain": np.linspace(0, _BLUES_END, len(_BLUES)).tolist(), "range": list(_BLUES)}
    ink = {"field": "ink", "type": "nominal", "scale": None}
    rate = {"type": "text", "fontSize": 9 * _POINT, "fontWeight": "bold", "dy": -14}
    detail = {"type": "text", "fontSize": 7 * _POINT, "lineBreak": "\n", "baseline": "top", "dy": 2}
    content = plot(
        f"Confusion matrix at threshold {item.point.threshold:.3g}",
        layer("rect", axes | {"fill": quantity("share", None, scale=shades, legend=None)}),
        layer(rate, axes | {"text": {"field": "rate"}, "color": ink}),
        layer(detail, axes | {"text": {"field": "detail"}, "color": ink}),
    )
    return content | {"data": {"values": _cell_rows(item, evaluation)}}


def distinct(points: Iterable[PointPerformance]) -> list[PointPerformance]:
    """Leave out the operating points whose threshold an earlier one has."""
    first: dict[float, PointPerformance] = {}
    for item in points:
        first.setdefault(item.point.threshold, item)
    return list(first.values())


def interval_row(item: Interval) -> dict[str, float | None]:
    """Return a metric as ``value``, ``low`` and ``high``; None stands for NaN."""
    return {"value": _number(item.value), "low": _number(item.low), "high": _number(item.high)}


_SCORE = "Score for metastasis"


def _histogram(name: str, scores: Sequence[float], colour: str) -> list[Spec]:
    edges = np.linspace(0, 1, SCORE_BINS + 1).round(2).tolist()
    counts = np.histogram(np.asarray(scores, np.float32), edges)[0].tolist()
    bars = [
        {"from": low, "to": high, "examinations": count, "group": name}
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    x = quantity("from", _SCORE, **_UNIT)
    y = quantity("examinations", "Examinations", axis={"tickMinStep": 1})
    bar = {"type": "bar", "color": colour, "opacity": 0.35, "binSpacing": 0, "tooltip": True}
    outline = {"type": "line", "color": colour, "interpolate": "step-after", "strokeWidth": 1.6}
    return [
        layer(bar, {"x": x | {"bin": {"binned": True}}, "x2": {"field": "to"}, "y": y | {"stack": None}}, bars),
        layer(outline, {"x": x, "y": y}, [*bars, bars[-1] | {"from": 1.0}]),
    ]


def _band_rows(curves: Curves) -> list[Row]:
    return [{"fpr": fpr} | interval_row(item) for fpr, item in zip(GRID.tolist(), curves.roc_grid, strict=True)]


def _calibration_entries(evaluation: Evaluation, palette: Palette) -> list[LegendEntry]:
    label = f"Model with 95 % interval\nBrier score {_with_interval(evaluation.whole.brier)}"
    return [
        LegendEntry(label, palette.model, palette.model, "circle"),
        LegendEntry(f"Bin of fewer than {FEW}", palette.model, _HOLLOW, "circle"),
        LegendEntry("Perfect calibration", palette.reference, dash=(1, 2)),
    ]


def _calibration_rows(curves: Curves, palette: Palette) -> list[Row]:
    """Make a row for each bin that has a score."""
    calibration = curves.calibration
    return [
        interval_row(curves.fractions[index])
        | {
            "mean score": float(calibration.mean_scores[index]),
            "share": float(calibration.fractions[index]),
            "examinations": calibration.sizes[index],
            "fill": _HOLLOW if calibration.sizes[index] < FEW else palette.model,
        }
        for index in range(BINS)
        if calibration.sizes[index]
    ]


def _emptier_corner(curves: Curves) -> str:
    """Choose the corner for the legend of the calibration plot: the one with fewer points, else the upper left."""
    means, shares = curves.calibration.mean_scores, curves.calibration.fractions
    above = np.sum((means < 1 - _CORNER) & (shares > 1 - _CORNER))
    below = np.sum((means > _CORNER) & (shares < _CORNER))
    return "top-left" if above <= below else "bottom-right"


def _diagonal(x: Spec, y: Spec, palette: Palette) -> Spec:
    encoding = {"x": x | {"field": "end"}, "y": y | {"field": "end"}}
    return layer(_reference(palette), encoding, [{"end": 0}, {"end": 1}])


def _reference(palette: Palette) -> Spec:
    return {"type": "line", "strokeDash": [1, 2], "color": palette.reference, "strokeWidth": 1.1}


def _band(palette: Palette) -> Spec:
    return {"type": "area", "color": palette.model, "opacity": 0.2}


def _clamp(value: float | None, low: float, high: float) -> float | None:
    return None if value is None else min(max(value, low), high)


def _line(palette: Palette) -> Spec:
    return {"type": "line", "color": palette.model, "strokeWidth": 1.9}


def _point_marker(item: PointPerformance, x: Spec, y: Spec, palette: Palette) -> Spec:
    name = item.point.name
    mark = {"type": "point", "shape": _MARKERS[name], "size": 65, "fill": palette.model, "stroke": "white"}
    row = {
        "fpr": item.rates["fpr"].value,
        "tpr": item.rates["sensitivity"].value,
        "operating point": _NAMES[name],
        "threshold": item.point.threshold,
    }
    encoding = {
        "x": x,
        "y": y,
        "tooltip": [{"field": field} for field in ("operating point", "threshold", "fpr", "tpr")],
    }
    return layer(mark | {"strokeWidth": 0.8, "opacity": 1}, encoding, [row])


def _point_label(item: PointPerformance) -> str:
    return f"{_NAMES[item.point.name]} ({item.point.threshold:.3g})"


def _cell_rows(item: PointPerformance, evaluation: Evaluation) -> list[Row]:
    matrix, rates, sample = item.confusion, item.rates, evaluation.whole.sample
    no, yes = "no metastasis", "metastasis"
    cells = (
        (no, no, "TNR", rates["specificity"], matrix.true_negatives, sample.negatives),
        (no, yes, "FPR", rates["fpr"], matrix.false_positives, sample.negatives),
        (yes, no, "FNR", rates["fnr"], matrix.false_negatives, sample.positives),
        (yes, yes, "TPR", rates["sensitivity"], matrix.true_positives, sample.positives),
    )
    return [
        {
            "label": label,
            "predicted": predicted,
            "share": _number(rate.value),
            "rate": f"{name} {_percent(rate.value)} %",
            "detail": f"{_percent(rate.low)} to {_percent(rate.high)} %\n{count} of {total}",
            "ink": "white" if rate.value > _DARK else "black",
        }
        for label, predicted, name, rate, count, total in cells
    ]


def _with_interval(item: Interval) -> str:
    return "not defined" if isnan(item.value) else f"{item.value:.3f} ({item.low:.3f} to {item.high:.3f})"


def _percent(value: float) -> str:
    return "-" if isnan(value) else f"{100 * value:.1f}"


def _number(value: float) -> float | None:
    return None if isnan(value) else float(value)
