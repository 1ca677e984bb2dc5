"""The figures of a report, as PNG and SVG, one column (89 mm) wide. The same evaluation gives the same bytes."""

import io
from collections.abc import Callable
from math import isnan

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bsbatch.evaluation.bootstrap import Interval
from bsbatch.evaluation.evaluate import Evaluation, PointPerformance
from bsbatch.evaluation.metrics import BINS
from bsbatch.evaluation.weighted import GRID

_WIDTH = 3.5
"""Inches."""
_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#6B6B6B"
"""Okabe and Ito's palette, told apart by colour-blind readers: positives are orange, negatives and the model blue."""
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "legend.fontsize": 7,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.8,
    "lines.linewidth": 1.4,
    "savefig.dpi": 300,
    "svg.hashsalt": "bsbatch",
    "svg.fonttype": "path",
}
_NO_DATES: dict[str, dict[str, None]] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
_MARKERS = {"threshold": "o", "half": "s", "youden": "D", "sensitivity": "^"}
_NAMES = {"threshold": "Threshold", "half": "Half", "youden": "Youden", "sensitivity": "Chosen sensitivity"}
_HISTOGRAM_BINS = 20


def figures_of(evaluation: Evaluation) -> dict[str, bytes]:
    """File name -> content of every figure; the user's matplotlib settings do not reach them."""
    drawings: dict[str, tuple[Callable[[Axes, Evaluation], None], float]] = {
        "roc": (_draw_roc, 3.6),
        "confusion": (_draw_confusion, 3.1),
        "calibration": (_draw_calibration, 3.6),
        "scores": (_draw_scores, 2.9),
    }
    files: dict[str, bytes] = {}
    with style.context(["default", _STYLE]):
        for name, (draw, height) in drawings.items():
            figure = Figure((_WIDTH, height), layout="constrained")
            FigureCanvasAgg(figure)
            draw(figure.subplots(), evaluation)
            figure.supxlabel(_footer(evaluation), fontsize=6, color=_GREY)
            for kind, metadata in _NO_DATES.items():
                files[f"{name}.{kind}"] = _saved(figure, kind, metadata)
    return files


def _saved(figure: Figure, kind: str, metadata: dict[str, None]) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, metadata=metadata)
    return stream.getvalue()


def _footer(evaluation: Evaluation) -> str:
    sample = evaluation.whole.sample
    unit = "patients" if evaluation.cohort.resampling_unit == "patient_id" else "studies"
    return (
        f"n = {sample.size} examinations of {sample.patient_count} {unit}, {sample.positives} with metastasis.\n"
        "95 % intervals by bootstrap. Research use only, not for clinical use."
    )


def _draw_roc(axes: Axes, evaluation: Evaluation) -> None:
    low = [item.low for item in evaluation.curves.roc_grid]
    high = [item.high for item in evaluation.curves.roc_grid]
    axes.fill_between(GRID, low, high, color=_BLUE, alpha=0.2, linewidth=0, label="95 % interval, pointwise")
    axes.plot(*evaluation.curves.roc, color=_BLUE, label=f"AUC {_words(evaluation.whole.auc, 3)}")
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle=":", label="Chance")
    for item in distinct(evaluation.whole.points):
        _draw_point(axes, item)
    axes.set(
        title="ROC curve", xlabel="False positive rate (1 - specificity)", ylabel="True positive rate (sensitivity)"
    )
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.legend(loc="lower right")


def distinct(points: tuple[PointPerformance, ...]) -> list[PointPerformance]:
    """The operating points without those whose threshold an earlier one has."""
    first = {item.point.threshold: item for item in reversed(points)}
    return [item for item in points if first[item.point.threshold] is item]


def _draw_point(axes: Axes, item: PointPerformance) -> None:
    name = item.point.name
    axes.plot(
        item.rates["fpr"].value,
        item.rates["sensitivity"].value,
        marker=_MARKERS[name],
        markersize=5,
        markeredgecolor="white",
        markeredgewidth=0.6,
        color=_ORANGE,
        linestyle="none",
        label=f"{_NAMES[name]} ({item.point.threshold:.3g})",
    )


def _draw_confusion(axes: Axes, evaluation: Evaluation) -> None:
    item = evaluation.whole.points[0]
    matrix, rates, sample = item.confusion, item.rates, evaluation.whole.sample
    cells = (
        (("TNR", rates["specificity"], matrix.true_negatives), ("FPR", rates["fpr"], matrix.false_positives)),
        (("FNR", rates["fnr"], matrix.false_negatives), ("TPR", rates["sensitivity"], matrix.true_positives)),
    )
    shares = np.array([[cell[1].value for cell in row] for row in cells])
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.15, aspect="auto")
    for row, total in enumerate((sample.negatives, sample.positives)):
        for column, (name, rate, count) in enumerate(cells[row]):
            colour = "white" if shares[row, column] > 0.65 else "black"  # noqa: PLR2004 - where black on blue ends
            text = f"{name} {_percent(rate.value)} %"
            axes.text(column, row - 0.13, text, ha="center", va="center", color=colour, fontsize=9, weight="bold")
            detail = f"{_percent(rate.low)} to {_percent(rate.high)} %\n{count} of {total}"
            axes.text(column, row + 0.15, detail, ha="center", va="center", color=colour, fontsize=7)
    names = ["no metastasis", "metastasis"]
    axes.set_xticks([0, 1], names)
    axes.set_yticks([0, 1], names, rotation=90, va="center")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    title = f"Confusion matrix at threshold {item.point.threshold:.3g}"
    axes.set(title=title, xlabel="Predicted", ylabel="Known (share of each row, %)")


def _draw_calibration(axes: Axes, evaluation: Evaluation) -> None:
    calibration, fractions = evaluation.curves.calibration, evaluation.curves.fractions
    filled = [place for place in range(BINS) if calibration.sizes[place]]
    means = calibration.mean_scores[filled]
    for mean, item in zip(means, (fractions[place] for place in filled), strict=True):
        axes.plot([mean, mean], [item.low, item.high], color=_BLUE, alpha=0.45, linewidth=2.5, solid_capstyle="butt")
    label = f"Model with 95 % interval\nBrier score {_words(evaluation.whole.brier, 3)}"
    axes.plot(means, calibration.fractions[filled], color=_BLUE, marker="o", markersize=4, label=label)
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle=":", label="Perfect calibration")
    for mean, place in zip(means, filled, strict=True):
        axes.text(mean, 1.05, str(calibration.sizes[place]), ha="center", va="center", fontsize=5.5, color=_GREY)
    axes.text(-0.02, 1.05, "n", ha="right", va="center", fontsize=5.5, color=_GREY, style="italic")
    axes.set(
        title="Calibration", xlabel="Mean score in the bin (probability)", ylabel="Share with metastasis in the bin"
    )
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.09), xticks=np.linspace(0, 1, 6), yticks=np.linspace(0, 1, 6))
    axes.legend(loc="best", bbox_to_anchor=(0.0, 0.0, 1.0, 0.95))


def _draw_scores(axes: Axes, evaluation: Evaluation) -> None:
    sample, point = evaluation.whole.sample, evaluation.whole.points[0].point
    edges = [place / _HISTOGRAM_BINS for place in range(_HISTOGRAM_BINS + 1)]
    for members, colour, name in ((~sample.labels, _BLUE, "No metastasis"), (sample.labels, _ORANGE, "Metastasis")):
        label = f"{name} (n = {int(members.sum())})"
        scores = sample.scores[members]
        axes.hist(scores, bins=edges, color=colour, alpha=0.35, linewidth=0)
        axes.hist(scores, bins=edges, color=colour, histtype="step", linewidth=1.2, label=label)
    axes.axvline(
        point.threshold,
        ymax=0.72,
        color="black",
        linewidth=0.9,
        linestyle="--",
        label=f"Threshold {point.threshold:.3g}",
    )
    axes.set(title="Scores", xlabel="Score (probability of metastasis)", ylabel="Examinations", xlim=(0, 1))
    axes.set_ylim(0, axes.get_ylim()[1] * 1.4)
    axes.legend(loc="upper center")


def _words(item: Interval, digits: int) -> str:
    if isnan(item.value):
        return "not defined"
    return f"{item.value:.{digits}f} ({item.low:.{digits}f} to {item.high:.{digits}f})"


def _percent(value: float) -> str:
    return "-" if isnan(value) else f"{100 * value:.1f}"
