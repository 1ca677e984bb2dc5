"""The comparison of two runs in words: rows of a table and sentences, for the terminal and for a page."""

from math import isnan

from bsbatch.evaluation.agreement import Agreement
from bsbatch.evaluation.bootstrap import Interval
from bsbatch.evaluation.performance import Rivalry
from bsbatch.notice import show_score

_SMALL = 0.001
"""Smallest p value that is written as a number."""


def table_rows(agreement: Agreement) -> list[tuple[str, str, str]]:
    """Return name, value of the first run and value of the second."""
    decisions = [[pair.decisions[side] for pair in agreement.pairs] for side in (0, 1)]
    models = [(run.model_id or "none")[:16] for run in agreement.runs]
    rows = [
        ("model", models),
        ("threshold", [f"{threshold:.4g}" for threshold in agreement.thresholds]),
        ("positive", [str(sum(positive)) for positive in decisions]),
        ("positive in it alone (flips)", [str(agreement.changed.first), str(agreement.changed.second)]),
        ("scored in it alone, not compared", [str(number) for number in agreement.alone]),
    ]
    if agreement.rivalry is not None:
        rows += _test_rows(agreement.rivalry)
    return [(name, values[0], values[1]) for name, values in rows]


def sentences(agreement: Agreement) -> list[str]:
    """Return differences and p values as sentences."""
    low, high = agreement.limits
    largest = agreement.pairs[0]
    found = [
        f"Mean difference of scores (other less this): {_signed(agreement.bias)}.",
        f"95 % limits of agreement (Bland-Altman): {low:+.3f} to {high:+.3f}.",
        f"Largest difference: {largest.difference:+.3f} ({show_score(largest.first)}, {show_score(largest.second)}).",
        f"Flips in either direction: {_chance(agreement.changed.p_value)} (McNemar, exact).",
    ]
    if agreement.by_study:
        found.insert(0, f"{agreement.by_study} examinations have other UIDs and were paired by study.")
    if agreement.rivalry is not None:
        auc, right = agreement.rivalry.auc, agreement.rivalry.decisions["all"]
        found += [
            f"ROC AUC, other less this: {_signed(auc.difference)}, {_chance(auc.p_value)} (DeLong).",
            f"Right decisions: {_chance(right.p_value)} (McNemar, exact).",
        ]
    return found


def _test_rows(rivalry: Rivalry) -> list[tuple[str, list[str]]]:
    auc, count = rivalry.auc, rivalry.n
    names = {"positives": "positives", "negatives": "negatives", "all": "examinations"}
    rows = [(f"ROC AUC of {count} with a label", [f"{auc.first:.3f}", f"{auc.second:.3f}"])]
    for name, words in names.items():
        item = rivalry.decisions[name]
        rows.append((f"{words} right in it alone", [str(item.first), str(item.second)]))
    return rows


def _signed(item: Interval) -> str:
    return f"{item.value:+.3f} (95 % interval {item.low:+.3f} to {item.high:+.3f})"


def _chance(p_value: float) -> str:
    return "p not defined" if isnan(p_value) else f"p = {p_value:.3f}" if p_value >= _SMALL else f"p < {_SMALL}"
