"""One page about two runs: differences of their scores, flips, and tests against labels."""

from pathlib import Path

from vl_convert import javascript_bundle

from bsbatch.errors import UsageError
from bsbatch.evaluation.agreement import Agreement, Pair
from bsbatch.evaluation.agreement_words import sentences, table_rows
from bsbatch.evaluation.plots import NEGATIVE, POSITIVE
from bsbatch.evaluation.vega_lite import LegendEntry, Row, Spec, layer, legend, plot, quantity
from bsbatch.html_report.charts import SCREEN, fit_plot
from bsbatch.html_report.rendering import EXPORT, render_template, write_text

_HEIGHT = 340
_GROUPS = {None: "No label", False: NEGATIVE, True: POSITIVE}
_COLOURS = {None: SCREEN.reference, False: SCREEN.negative, True: SCREEN.positive}


def write_comparison(agreement: Agreement, page: Path) -> Path:
    """Write the page. It holds no UID, date or path.

    Raises
    ------
    UsageError
        The folder of the page does not exist.
    OutputError
        The page cannot be written.
    """
    if not page.parent.is_dir() or page.is_dir():
        raise UsageError(f"{page} cannot be a file: name one in a folder that exists with --out")
    variables = {
        "pairs": agreement.pairs,
        "by_study": agreement.by_study,
        "summary": table_rows(agreement),
        "sentences": sentences(agreement),
        "flips": agreement.flips,
        "labelled": agreement.rivalry is not None,
        "charts": {"bland_altman": bland_altman_chart(agreement), "scores": score_chart(agreement)},
    }
    return write_text(page, render_template("comparison.html", variables, javascript_bundle(EXPORT)))


def bland_altman_chart(agreement: Agreement) -> Spec:
    """Plot the difference of each pair against its mean score, with the mean difference and the limits of agreement."""
    x, y = quantity("mean", "Mean of both scores"), quantity("difference", "Difference of scores, other less this")
    low, high = agreement.limits
    lines = [_level(y, agreement.bias.value, [1, 0]), _level(y, low, [4, 3]), _level(y, high, [4, 3])]
    return fit_plot(plot("Bland-Altman", *lines, *_points(agreement, x, y)), _HEIGHT)


def score_chart(agreement: Agreement) -> Spec:
    """Plot the second score of each pair against its first, with both thresholds."""
    unit = {"scale": {"domain": [0, 1]}}
    x, y = quantity("this", "Score, this", **unit), quantity("other", "Score, other", **unit)
    first, second = agreement.thresholds
    lines = [_level(x, first, [4, 3], channel="x"), _level(y, second, [4, 3])]
    return fit_plot(plot("Scores", *lines, *_points(agreement, x, y)), _HEIGHT)


def _points(agreement: Agreement, x: Spec, y: Spec) -> list[Spec]:
    """One layer for each label, and a legend."""
    layers, entries = [], []
    for label, name in _GROUPS.items():
        rows = [_row(pair) for pair in agreement.pairs if pair.label is label]
        if rows:
            colour = _COLOURS[label]
            mark = {"type": "point", "filled": True, "size": 30, "opacity": 0.7, "color": colour, "tooltip": True}
            layers.append(layer(mark, {"x": x, "y": y}, rows))
            entries.append(LegendEntry(f"{name} (n = {len(rows)})", colour, colour, "circle"))
    return [*layers, legend(entries, orient="top", columns=1)]


def _row(pair: Pair) -> Row:
    mean = (pair.first + pair.second) / 2
    return {
        "examination": pair.exam_id,
        "this": pair.first,
        "other": pair.second,
        "mean": mean,
        "difference": pair.difference,
    }


def _level(axis: Spec, value: float, dash: list[int], channel: str = "y") -> Spec:
    mark = {"type": "rule", "color": SCREEN.reference, "strokeDash": dash, "strokeWidth": 1.3}
    return layer(mark, {channel: axis}, [{axis["field"]: value}])
