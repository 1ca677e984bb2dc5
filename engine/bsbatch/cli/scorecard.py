"""Tables on the terminal at the end of an evaluation."""

from math import isnan

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bsbatch.evaluation.bootstrap import Interval
from bsbatch.evaluation.cohort import Exclusion
from bsbatch.evaluation.localisation import Localisation
from bsbatch.evaluation.performance import Evaluation
from bsbatch.notice import SENTENCE

_EXCLUSIONS = {
    Exclusion.NO_RESULT: "labelled studies without an examination in the results",
    Exclusion.NOT_SCORED: "examinations of labelled studies that failed and have no score",
    Exclusion.NO_LABEL: "examinations without a label",
    Exclusion.OUTSIDE: "examinations left out by --split or --centre",
}
_POINTS = {"threshold": "threshold", "half": "0.5", "youden": "Youden", "sensitivity": "sensitivity"}


def show(console: Console, evaluation: Evaluation) -> None:
    """Print an evaluation: cohort and exclusions, metrics, subgroups."""
    _show_cohort(console, evaluation)
    console.print(_metrics_table(evaluation))
    console.print(_points_table(evaluation))
    console.print(_groups_table(evaluation))
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
    metrics = {"ROC AUC": evaluation.whole.auc, "Brier score": evaluation.whole.brier}
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
        return f"PPV and NPV are those at the sample's own prevalence, {sample.positives / sample.size:.1%}."
    return f"PPV and NPV are those at a prevalence of {stated:.1%}."


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column, name in enumerate(names):
        table.add_column(name, justify="right" if column else "left")
    return table


def _words(name: str) -> str:
    return name.upper() if name in {"fpr", "fnr", "f1", "ppv", "npv"} else name.capitalize()


def _number(value: float) -> str:
    return "-" if isnan(value) else f"{value:.3f}"


def _with_interval(item: Interval) -> str:
    return "-" if isnan(item.value) else f"{_number(item.value)} ({_interval(item)})"


def _interval(item: Interval) -> str:
    return "-" if isnan(item.low) else f"{item.low:.3f} to {item.high:.3f}"


def _say(console: Console, words: str, *, soft_wrap: bool = False) -> None:
    console.print(words, highlight=False, soft_wrap=soft_wrap)


def _warn(console: Console, words: str) -> None:
    _say(console, f"[yellow]{words}[/]")
