"""Choice of operating points: the scores from which an examination counts as positive."""

import numpy as np

from bsbatch.evaluation.metrics import roc
from bsbatch.evaluation.performance import OperatingPoint
from bsbatch.evaluation.sample import Sample
from bsbatch.evaluation.settings import DecisionSettings


def operating_points(sample: Sample, decisions: DecisionSettings, run_threshold: float) -> tuple[OperatingPoint, ...]:
    """Choose the four operating points; confusion matrix, scores and subgroups are reported at the first.

    Thresholds chosen on the sample are the most favourable ones for it, so metrics at them are optimistic.

    Parameters
    ----------
    sample
        Of both classes.
    decisions
        Its threshold, if any, replaces that of the run.
    run_threshold
        Threshold of the run, in [0, 1].
    """
    own = decisions.threshold
    rule = "the threshold of the run" if own is None else "--threshold"
    at_least = f"the highest threshold with a sensitivity of at least {decisions.sensitivity:g} on this sample"
    return (
        OperatingPoint("threshold", run_threshold if own is None else own, rule),
        OperatingPoint("half", 0.5, "0.5"),
        OperatingPoint("youden", youden(sample), "the largest sensitivity + specificity - 1 on this sample"),
        OperatingPoint("sensitivity", at_sensitivity(sample, decisions.sensitivity), at_least),
    )


def youden(sample: Sample) -> float:
    """Choose the threshold with the largest ``J = sensitivity + specificity - 1``, the highest of equal ones.

    Source: Youden, Cancer 1950;3:32-35.
    """
    fpr, tpr, thresholds = roc(sample)
    return shortest(thresholds[1:][np.argmax(tpr[1:] - fpr[1:])])  # the first one is infinite: nothing is positive


def at_sensitivity(sample: Sample, sensitivity: float) -> float:
    """Choose the highest threshold that reaches a sensitivity in (0, 1]."""
    _, tpr, thresholds = roc(sample)
    return shortest(thresholds[np.argmax(tpr >= sensitivity)])


def shortest(threshold: float) -> float:
    """Return the shortest decimal that is the same number in single precision: 0.7 for 0.699999988."""
    return float(str(np.float32(threshold)))
