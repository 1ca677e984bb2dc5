"""Records of an evaluation, from which reports, plots and tables are made."""

from dataclasses import dataclass

import numpy as np

from bsbatch.evaluation.bootstrap import Interval
from bsbatch.evaluation.cohort import Cohort
from bsbatch.evaluation.localisation import Localisation
from bsbatch.evaluation.results import Run
from bsbatch.evaluation.sample import Floats, Sample
from bsbatch.evaluation.settings import EvaluationConfig

RATES = ("sensitivity", "specificity", "fpr", "fnr", "accuracy", "f1", "ppv", "npv")
"""Metrics of one operating point; sensitivity is the TPR, specificity the TNR."""
PREVALENCE_FREE = ("sensitivity", "specificity", "fpr", "fnr")
"""Rates that do not depend on the share of positives: the only ones for a lesion load beside all negatives."""
BINS = 10
"""Bins of the calibration curve, equally wide on [0, 1]."""
GRID: Floats = np.linspace(0.0, 1.0, 101)
"""False positive rates at which the interval of the ROC curve is computed."""


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold and its origin."""

    name: str
    """Key in ``metrics.json``."""
    threshold: float
    """Smallest score that counts as positive, in [0, 1]."""
    rule: str
    """In words."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of examinations by label and decision."""

    true_positives: int
    false_negatives: int
    false_positives: int
    true_negatives: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """Calibration curve, one entry for each bin; NaN in bins without a score."""

    sizes: tuple[int, ...]
    """Examinations."""
    mean_scores: Floats
    """``(BINS,)`` mean score."""
    fractions: Floats
    """``(BINS,)`` share of positives."""


@dataclass(frozen=True, slots=True)
class PointPerformance:
    """Metrics at one operating point."""

    point: OperatingPoint
    confusion: Confusion
    rates: dict[str, Interval]
    """By the names in `RATES`."""


@dataclass(frozen=True, slots=True)
class Performance:
    """Metrics of a sample."""

    sample: Sample
    auc: Interval
    brier: Interval
    average_precision: Interval
    calibration_error: Interval
    """Expected calibration error over `BINS`."""
    points: tuple[PointPerformance, ...]
    redrawn: int
    """Resamples that held one class only and were drawn again."""


@dataclass(frozen=True, slots=True)
class GroupPerformance:
    """Metrics of a part of the cohort, at the first operating point."""

    kind: str
    name: str
    performance: Performance


@dataclass(frozen=True, slots=True)
class Curves:
    """Curves of a sample with pointwise intervals."""

    roc: tuple[Floats, Floats]
    """FPR and TPR of the sample, from (0, 0) to (1, 1)."""
    roc_grid: tuple[Interval, ...]
    """TPR at the FPR of `GRID`."""
    calibration: Calibration
    fractions: tuple[Interval, ...]
    """Share of positives in each bin."""
    precision: tuple[Interval, ...]
    """Precision at the recall of `GRID`."""
    net_benefit: tuple[Interval, ...]
    """At each of `bsbatch.evaluation.statistics.utility.THRESHOLDS`."""
    prevalence: float
    """Share of positives to which calibration, precision and net benefit belong."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A subgroup less the largest one of its kind."""

    kind: str
    name: str
    reference: str
    """Name of the largest subgroup of the kind."""
    differences: dict[str, Interval]
    """By the names in `bsbatch.evaluation.fairness.DIFFERENCES`, at the first operating point."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """A threshold of one centre at another one."""

    origin: str
    """Centre whose examinations the threshold was chosen on."""
    target: str
    """Centre of the examinations that it is used on."""
    rule: str
    """``youden`` or ``sensitivity``, see `bsbatch.evaluation.operating`."""
    threshold: float
    rates: dict[str, Interval]
    """By the names in `bsbatch.evaluation.transfer.SIDES`, at the target."""


@dataclass(frozen=True, slots=True)
class Delong:
    """Two ROC AUC of the same examinations, and the test of their difference."""

    first: float
    second: float
    difference: Interval
    """Second less first."""
    p_value: float
    """Two-sided; NaN if the difference has no variance."""


@dataclass(frozen=True, slots=True)
class Mcnemar:
    """Examinations that one of two models alone decides rightly."""

    first: int
    """Right by the first alone."""
    second: int
    """Right by the second alone."""
    p_value: float
    """Two-sided, exact; 1 if there are none."""


@dataclass(frozen=True, slots=True)
class Rivalry:
    """Comparison of the evaluated run (first) with another one (second), on the examinations that both have scored."""

    rival: Run
    n: int
    positives: int
    thresholds: tuple[float, float]
    auc: Delong
    decisions: dict[str, Mcnemar]
    """Right decisions about ``positives``, ``negatives`` and ``all``."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All results of an evaluation."""

    config: EvaluationConfig
    run: Run
    cohort: Cohort
    repeated_labels: int
    """Label rows that repeat an earlier one."""
    whole: Performance
    curves: Curves
    probabilities: dict[str, Interval]
    """Slope and intercept of the calibration, and the parts of the Brier score."""
    groups: tuple[GroupPerformance, ...]
    fairness: tuple[Difference, ...]
    transfers: tuple[Transfer, ...]
    rivalry: Rivalry | None
    """Comparison with another run; None without ``--compare``."""
    localisation: Localisation | None
    """Comparison of heat maps with masks; None without ``--masks``."""
