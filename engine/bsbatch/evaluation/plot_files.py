"""Plots of an evaluation as PNG and SVG files, one column (89 mm) wide, rendered by vl-convert.

Equal evaluations give equal bytes.
"""

from vl_convert import svg_to_png, vegalite_to_svg

from bsbatch.evaluation.performance import Evaluation
from bsbatch.evaluation.plots import (
    NEGATIVE,
    POSITIVE,
    PRINT,
    calibration_plot,
    confusion_plot,
    decision_plot,
    precision_plot,
    roc_plot,
    score_plot,
)
from bsbatch.evaluation.vega_lite import Spec, layer
from bsbatch.notice import SENTENCE

_WIDTH = 336
"""CSS pixels, 96 to the inch: 89 mm."""
_DPI = 300
_POINT = 4 / 3
"""CSS pixels in a typographic point."""
_FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
"""The first comes with vl-convert and has the metrics of Arial."""
_LOOK: Spec = {
    "font": _FONT,
    "view": {"stroke": None},
    "axis": {
        "grid": False,
        "labelFontSize": 8 * _POINT,
        "titleFontSize": 8 * _POINT,
        "titleFontWeight": "normal",
        "titlePadding": 6,
        "domainColor": "black",
        "tickColor": "black",
        "tickSize": 4,
        "labelFlush": False,
    },
    "legend": {
        "labelFontSize": 7 * _POINT,
        "labelColor": "black",
        "rowPadding": 1,
        "padding": 2,
        "offset": 5,
        "fillColor": "rgba(255, 255, 255, 0.8)",
    },
    "title": {"anchor": "start", "frame": "group", "fontSize": 9 * _POINT},
}


def draw_plots(evaluation: Evaluation) -> dict[str, bytes]:
    """Draw every plot; returns the content of each file by its name."""
    sample, threshold = evaluation.whole.sample, evaluation.whole.points[0].point.threshold
    scores = {NEGATIVE: sample.scores[~sample.labels].tolist(), POSITIVE: sample.scores[sample.labels].tolist()}
    plots = {
        "roc": (roc_plot(evaluation), 375),
        "confusion": (confusion_plot(evaluation), 298),
        "calibration": (calibration_plot(evaluation), 378),
        "scores": (score_plot(scores, threshold), 300),
        "precision_recall": (precision_plot(evaluation), 375),
        "decision_curve": (decision_plot(evaluation), 375),
    }
    files: dict[str, bytes] = {}
    for name, (plot, height) in plots.items():
        svg = vegalite_to_svg(_page_of(plot, height, _footer(evaluation)))
        files[f"{name}.svg"] = svg.encode()
        files[f"{name}.png"] = svg_to_png(svg, scale=72 / 96, ppi=_DPI)
    return files


def _page_of(plot: Spec, height: int, footer: list[str]) -> Spec:
    """Add size, fonts, title and a footer below the axis."""
    text = {"type": "text", "text": footer, "baseline": "top", "fontSize": 6 * _POINT, "color": PRINT.reference}
    below = {"x": {"value": {"expr": "width / 2"}}, "y": {"value": {"expr": "height + 44"}}}
    return plot | {
        "layer": [*plot["layer"], layer(text, below, [{}])],
        "title": plot["description"],
        "width": _WIDTH,
        "height": height,
        "autosize": {"type": "fit", "contains": "padding"},
        "padding": 5,
        "background": "white",
        "config": _LOOK,
    }


def _footer(evaluation: Evaluation) -> list[str]:
    sample = evaluation.whole.sample
    unit = "studies" if evaluation.cohort.resampling_unit == "study_uid" else "patients"
    return [
        f"n = {sample.size} examinations of {sample.patient_count} {unit}, {sample.positives} with metastasis.",
        f"95 % intervals by bootstrap. {SENTENCE}",
    ]
