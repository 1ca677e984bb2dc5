"""Metrics of a sample, computed by scikit-learn; NaN if undefined (a division by zero)."""

from math import nan

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from bsbatch.evaluation.performance import BINS, Confusion
from bsbatch.evaluation.sample import Floats, Sample


def auc(sample: Sample) -> float:
    """Area under the ROC curve: the probability that a positive scores above a negative, ties counting half.

    Source: Hanley and McNeil, Radiology 1982;143:29-36. NaN with one class only.
    """
    if not sample.positives or not sample.negatives:
        return nan
    return float(roc_auc_score(sample.labels, sample.scores))


def confusion(sample: Sample, threshold: float) -> Confusion:
    """Count decisions by label; a score equal to the threshold is positive, as in a run."""
    matrix = confusion_matrix(sample.labels, sample.scores >= np.float32(threshold), labels=[False, True])
    true_negatives, false_positives, false_negatives, true_positives = map(int, matrix.ravel())
    return Confusion(true_positives, false_negatives, false_positives, true_negatives)


def rates(sample: Sample, threshold: float, prevalence: float | None) -> dict[str, float]:
    """Compute the metrics of one operating point, each in [0, 1].

    Parameters
    ----------
    sample
        Of any size above 0.
    threshold
        Smallest score that counts as positive.
    prevalence
        Share of positives for which accuracy, F1, PPV and NPV are computed (`at_prevalence`); None uses the sample's.
    """
    labels, decisions = sample.labels, sample.scores >= np.float32(threshold)
    sensitivity = float(recall_score(labels, decisions, zero_division=nan))
    specificity = float(recall_score(~labels, ~decisions, zero_division=nan))
    values = {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "fpr": 1.0 - specificity,
        "fnr": 1.0 - sensitivity,
        "accuracy": float(accuracy_score(labels, decisions)),
        "f1": float(f1_score(labels, decisions, zero_division=nan)),
        "ppv": float(precision_score(labels, decisions, zero_division=nan)),
        "npv": float(precision_score(~labels, ~decisions, zero_division=nan)),
    }
    if prevalence is not None:
        stated = at_prevalence(np.array(sensitivity), np.array(specificity), prevalence)
        values |= {name: float(value) for name, value in stated.items()}
    return values


def at_prevalence(sensitivity: Floats, specificity: Floats, prevalence: float) -> dict[str, Floats]:
    """Compute the rates that depend on the prevalence by Bayes' theorem; NaN if a share is of nothing.

    ``PPV = se p / (se p + (1 - sp)(1 - p))``, ``NPV = sp (1 - p) / (sp (1 - p) + (1 - se) p)``.
    Source: Altman and Bland, BMJ 1994;309:102.
    """
    positive, false_positive = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    negative, false_negative = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    return {
        "accuracy": positive + negative,
        "f1": ratio(2 * positive, 2 * positive + false_positive + false_negative),
        "ppv": ratio(positive, positive + false_positive),
        "npv": ratio(negative, negative + false_negative),
    }


def ratio(part: Floats, whole: Floats) -> Floats:
    """Divide ``part / whole``; NaN if the whole is 0."""
    part, whole = np.broadcast_arrays(part, whole)
    quotient = np.full(whole.shape, nan)
    np.divide(part, whole, out=quotient, where=whole != 0)
    return quotient


def roc(sample: Sample) -> tuple[Floats, Floats, Floats]:
    """FPR, TPR and threshold of every point of the ROC curve, from (0, 0) to (1, 1); needs both classes."""
    fpr, tpr, thresholds = roc_curve(sample.labels, sample.scores, drop_intermediate=False)
    return fpr, tpr, thresholds.astype(np.float64)


def bin_of(scores: np.ndarray[tuple[int], np.dtype[np.float32]]) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Bin of each score, ``(N,)`` from 0 to `BINS` - 1, by scikit-learn's rule."""
    return np.searchsorted(np.linspace(0.0, 1.0, BINS + 1)[1:-1], scores.astype(np.float64))
