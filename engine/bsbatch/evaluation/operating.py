"""Operating points: from which score on an examination counts as positive."""

from dataclasses import dataclass

import numpy as np

from bsbatch.evaluation.metrics import roc
from bsbatch.evaluation.sample import Sample
from bsbatch.evaluation.settings import Reading


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold and where it comes from."""

    name: str
    """Key in ``metrics.json``."""
    threshold: float
    """Positive from this score on, in [0, 1]."""
    rule: str
    """In words."""


def operating_points(sample: Sample, reading: Reading, run_threshold: float) -> tuple[OperatingPoint, ...]:
    """The four operating points; the first is the one that everything else is reported at.

    Thresholds that are chosen on the sample are the most favourable ones for it, so figures at them are optimistic.

    Parameters
    ----------
    sample
        Of both classes.
    reading
        A threshold of its own goes before that of the run.
    run_threshold
        That of the run, in [0, 1].
    """
    own = reading.threshold
    rule = "the threshold of the run" if own is None else "--threshold"
    at_least = f"the highest threshold with a sensitivity of at least {reading.sensitivity:g} on this sample"
    return (
        OperatingPoint("threshold", run_threshold if own is None else own, rule),
        OperatingPoint("half", 0.5, "0.5"),
        OperatingPoint("youden", youden(sample), "the largest sensitivity + specificity - 1 on this sample"),
        OperatingPoint("sensitivity", at_sensitivity(sample, reading.sensitivity), at_least),
    )


def youden(sample: Sample) -> float:
    """Threshold of the largest ``J = sensitivity + specificity - 1``, the highest of equal ones.

    Source: Youden, Cancer 1950;3:32-35.
    """
    fpr, tpr, thresholds = roc(sample)
    return shortest(thresholds[1:][np.argmax(tpr[1:] - fpr[1:])])  # the first one is infinite: nothing is positive


def at_sensitivity(sample: Sample, sensitivity: float) -> float:
    """The highest threshold that reaches a sensitivity in (0, 1]."""
    _, tpr, thresholds = roc(sample)
    return shortest(thresholds[np.argmax(tpr >= sensitivity)])


def shortest(threshold: float) -> float:
    """The shortest decimal that is the same number in single precision: 0.7 for 0.699999988."""
    return float(str(np.float32(threshold)))
