"""Tables on the terminal at the end of an evaluation."""

from math import isnan

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bsbatch.evaluation.bootstrap import Interval
from bsbatch.evaluation.cohort import Exclusion
from bsbatch.evaluation.localisation import Localisation
from bsbatch.evaluation.performance import Evaluation, Rivalry
from bsbatch.evaluation.sizes import plan
from bsbatch.evaluation.statistics.utility import THRESHOLDS, treat_all
from bsbatch.notice import SENTENCE

_EXCLUSIONS = {
    Exclusion.NO_RESULT: "labelled studies without an examination in the results",
    Exclusion.NOT_SCORED: "examinations of labelled studies that failed and have no score",
    Exclusion.NO_LABEL: "examinations without a label",
    Exclusion.NOT_JOINED: "rows of the table that could not be joined with a study",
    Exclusion.OUTSIDE: "examinations left out by --split or --centre",
}
_SMALL = 0.001
_POINTS = {"threshold": "threshold", "half": "0.5", "youden": "Youden", "sensitivity": "sensitivity"}


def show(console: Console, evaluation: Evaluation) -> None:
    """Print an evaluation: cohort and exclusions, metrics, subgroups."""
    _show_cohort(console, evaluation)
    console.print(_metrics_table(evaluation))
    console.print(_points_table(evaluation))
    console.print(_benefit_table(evaluation))
    console.print(_sizes_table(evaluation))
    console.print(_groups_table(evaluation))
    if evaluation.fairness:
        console.print(_fairness_table(evaluation))
    if evaluation.transfers:
        console.print(_transfers_table(evaluation))
    if evaluation.rivalry is not None:
        _show_rivalry(console, evaluation.rivalry)
    if evaluation.localisation is not None:
        _show_localisation(console, evaluation.localisation)
    _say(console, _prevalence(evaluation))
    _say(console, "Metrics at thresholds chosen on this sample (Youden, sensitivity) are optimistic.")
    _say(console, f"Report: {evaluation.config.out}/metrics.json", soft_wrap=True)
    console.print(SENTENCE, style="dim")


def _show_cohort(console: Console, evaluation: Evaluation) -> None:
    cohort, sample = evaluation.cohort, evaluation.cohort.sample
    counts = f"[bold]{sample.size} examinations[/], {sample.positives} with metastasis, {sample.negatives} without"
    if cohort.resampling_unit != "study_uid":
        _say(console, f"{counts}, of {sample.patient_count} patients")
    else:
        _say(console, f"{counts}, of {cohort.studies} studies")
        _warn(console, "neither labels nor archive name patients: each study counts as a patient of its own")
    if evaluation.run.status not in {"complete", None}:
        _warn(console, f"the run is not complete ({evaluation.run.status}): run it again first")
    for exclusion, words in _EXCLUSIONS.items():
        if cohort.exclusions[exclusion]:
            _warn(console, f"{cohort.exclusions[exclusion]} {words}: see unmatched.csv")
    if evaluation.repeated_labels:
        _warn(console, f"{evaluation.repeated_labels} label rows repeat an earlier one and agree with it")


def _metrics_table(evaluation: Evaluation) -> Table:
    point = evaluation.whole.points[0]
    resampling = evaluation.config.resampling
    table = _table("metric", "value", f"95 % interval ({resampling.resamples} resamples)")
    whole, probabilities = evaluation.whole, evaluation.probabilities
    metrics = {
        "ROC AUC": whole.auc,
        "Average precision": whole.average_precision,
        "Brier score": whole.brier,
        "Calibration error": whole.calibration_error,
        "Calibration slope": probabilities["calibration_slope"],
        "Calibration intercept": probabilities["calibration_intercept"],
    }
    metrics |= {f"{_words(name)} at {point.point.threshold:.4g}": rate for name, rate in point.rates.items()}
    for name, item in metrics.items():
        table.add_row(name, _number(item.value), _interval(item))
    return table


def _points_table(evaluation: Evaluation) -> Table:
    table = _table("operating point", "score", "sensitivity", "specificity")
    for item in evaluation.whole.points:
        rates = [_with_interval(item.rates[name]) for name in _SIDES]
        table.add_row(_POINTS[item.point.name], f"{item.point.threshold:.4g}", *rates)
    return table


_SIDES = ("sensitivity", "specificity")
_RULES = {"youden": "Youden", "sensitivity": "sens."}
_BENEFITS = (0.05, 0.1, 0.2, 0.3, 0.5)
"""Thresholds of the decision curve on the terminal."""
_MOST_ROWS = 12
"""Rows of a table of pairs on the terminal."""


def _benefit_table(evaluation: Evaluation) -> Table:
    table, curves = _table("net benefit at threshold", "model", "all positive", "none"), evaluation.curves
    chances = THRESHOLDS.tolist()
    for threshold in _BENEFITS:
        index = chances.index(threshold)
        everyone = float(treat_all(curves.prevalence)[index])
        table.add_row(f"{threshold:g}", _with_interval(curves.net_benefit[index]), _number(everyone), "0")
    return table


def _sizes_table(evaluation: Evaluation) -> Table:
    content = plan(evaluation)
    wanted = f"n for {content['wanted_width']:g}"
    table = _table(f"interval, at {content['prevalence']:.1%} positive", "width", wanted)
    for name, words in {"auc": "ROC AUC", "sensitivity": "Sensitivity", "specificity": "Specificity"}.items():
        width, needed = content[name]["width"], content[name]["needed"]
        table.add_row(words, "-" if width is None else _number(width), "-" if needed is None else f"{needed:,}")
    return table


def _fairness_table(evaluation: Evaluation) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("group less the largest", overflow="ellipsis", no_wrap=True, max_width=32)
    for name in _SIDES:
        table.add_column(name, justify="right", no_wrap=True)
    for item in evaluation.fairness:
        values = [_signed(item.differences[name], 2) for name in _SIDES]
        table.add_row(escape(f"{item.kind} {item.name} - {item.reference}"), *values)
    return table


def _transfers_table(evaluation: Evaluation) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("threshold from -> at", overflow="ellipsis", no_wrap=True, max_width=20)
    for name in ("by", "score", "sens.", "spec."):
        table.add_column(name, justify="right", no_wrap=True)
    for item in evaluation.transfers[:_MOST_ROWS]:
        rates = [_with_interval(item.rates[name], 2) for name in _SIDES]
        names = f"{item.origin} -> {item.target}"
        table.add_row(escape(names), _RULES[item.rule], f"{item.threshold:.3g}", *rates)
    if len(evaluation.transfers) > _MOST_ROWS:
        table.caption = f"and {len(evaluation.transfers) - _MOST_ROWS} more in metrics.json"
    return table


def _show_rivalry(console: Console, rivalry: Rivalry) -> None:
    auc = rivalry.auc
    table = _table(f"compared on {rivalry.n} examinations", "this", "other", "p")
    table.add_row("ROC AUC (DeLong)", _number(auc.first), _number(auc.second), _chance(auc.p_value))
    names = {"positives": "positives", "negatives": "negatives", "all": "examinations"}
    for name, words in names.items():
        item = rivalry.decisions[name]
        table.add_row(
            f"{words} that it alone decides rightly", str(item.first), str(item.second), _chance(item.p_value)
        )
    console.print(table)
    _say(console, f"ROC AUC of the other less this: {_signed(auc.difference)}. p of decisions by McNemar's exact test.")


def _groups_table(evaluation: Evaluation) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("group", overflow="ellipsis", no_wrap=True, max_width=26)
    for name in ("n", "positive", "ROC AUC", "sens.", "spec."):
        table.add_column(name, justify="right", no_wrap=True)
    for group in evaluation.groups:
        performance = group.performance
        sample, rates = performance.sample, performance.points[0].rates
        sides = [_number(rates[name].value) for name in _SIDES]
        auc = _with_interval(performance.auc)
        table.add_row(escape(f"{group.kind} {group.name}"), str(sample.size), str(sample.positives), auc, *sides)
    return table


def _show_localisation(console: Console, localisation: Localisation) -> None:
    table = _table("heat maps", "n", "pointing game", "energy inside", "Dice")
    for group in localisation.groups:
        name = group.name if group.kind == "all" else f"{group.kind} {group.name}"
        shares = [_with_interval(group.metrics[metric]) for metric in ("pointing_game", "energy_inside")]
        table.add_row(name, str(group.n), *shares, _number(group.metrics["dice_0.5"].value))
    console.print(table)
    if localisation.missed:
        _say(console, f"{localisation.missed} positives were missed: their heat map is for the other class.")
    lacking = localisation.without_map + localisation.without_mask + localisation.without_lesion
    if lacking:
        _warn(console, f"{lacking} true positives have no heat map, no mask or no lesion in it: not compared")


def _prevalence(evaluation: Evaluation) -> str:
    sample, stated = evaluation.cohort.sample, evaluation.config.decisions.prevalence
    if stated is None:
        return f"Metrics are those at the sample's own prevalence, {sample.positives / sample.size:.1%}."
    return f"Metrics that depend on it are those at a prevalence of {stated:.1%}."


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column, name in enumerate(names):
        table.add_column(name, justify="right" if column else "left")
    return table


def _words(name: str) -> str:
    return name.upper() if name in {"fpr", "fnr", "f1", "ppv", "npv"} else name.capitalize()


def _number(value: float) -> str:
    return "-" if isnan(value) else f"{value:.3f}"


def _signed(item: Interval, digits: int = 3) -> str:
    values = (f"{value:+.{digits}f}" for value in (item.value, item.low, item.high))
    return "-" if isnan(item.value) else "{} ({} to {})".format(*values)


def _chance(p_value: float) -> str:
    return "-" if isnan(p_value) else f"{p_value:.3f}" if p_value >= _SMALL else f"<{_SMALL}"


def _with_interval(item: Interval, digits: int = 3) -> str:
    return "-" if isnan(item.value) else f"{item.value:.{digits}f} ({_interval(item, digits)})"


def _interval(item: Interval, digits: int = 3) -> str:
    return "-" if isnan(item.low) else f"{item.low:.{digits}f} to {item.high:.{digits}f}"


def _say(console: Console, words: str, *, soft_wrap: bool = False) -> None:
    console.print(words, highlight=False, soft_wrap=soft_wrap)


def _warn(console: Console, words: str) -> None:
    _say(console, f"[yellow]{words}[/]")
