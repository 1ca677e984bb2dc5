"""An evaluation: read, join, choose operating points, compute, resample."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bsbatch.errors import UsageError
from bsbatch.evaluation import metrics, weighted
from bsbatch.evaluation.bootstrap import Interval, Replicates, bootstrap, interval
from bsbatch.evaluation.cohort import Cohort, gather, groups_of
from bsbatch.evaluation.labels import read_labels
from bsbatch.evaluation.localisation import Localisation, localise
from bsbatch.evaluation.metrics import Confusion
from bsbatch.evaluation.operating import OperatingPoint, operating_points, shortest
from bsbatch.evaluation.results import Run, lies_in_tables, read_results
from bsbatch.evaluation.sample import Floats, Sample
from bsbatch.evaluation.settings import EvaluationConfig
from bsbatch.evaluation.weighted import Ranking

MIX_FREE = ("sensitivity", "specificity", "fpr", "fnr")
"""What does not depend on the share of positives: all that can be said of a lesion load held against all negatives."""


@dataclass(frozen=True, slots=True)
class PointPerformance:
    """The figures at one operating point."""

    point: OperatingPoint
    confusion: Confusion
    rates: dict[str, Interval]
    """By the names of `metrics.RATES`."""


@dataclass(frozen=True, slots=True)
class Performance:
    """The figures of a sample."""

    sample: Sample
    auc: Interval
    brier: Interval
    points: tuple[PointPerformance, ...]
    redrawn: int
    """Resamples that held one class only and were drawn again."""


@dataclass(frozen=True, slots=True)
class GroupPerformance:
    """The figures of a part of the cohort, at the first operating point."""

    kind: str
    name: str
    performance: Performance


@dataclass(frozen=True, slots=True)
class Curves:
    """ROC and calibration curve with their intervals, pointwise."""

    roc: tuple[Floats, Floats]
    """FPR and TPR of the sample, from (0, 0) to (1, 1)."""
    roc_grid: tuple[Interval, ...]
    """TPR at the FPR of `weighted.GRID`."""
    calibration: metrics.Calibration
    fractions: tuple[Interval, ...]
    """Share of positives in each bin."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that a report is made of."""

    config: EvaluationConfig
    run: Run
    cohort: Cohort
    repeated_labels: int
    whole: Performance
    curves: Curves
    groups: tuple[GroupPerformance, ...]
    localisation: Localisation | None
    """Heat maps against masks; None without ``--masks``."""


def evaluate(config: EvaluationConfig) -> Evaluation:
    """Hold the results of a run against labels.

    Raises
    ------
    UsageError
        Results or labels cannot be used as they are; nothing was written.
    """
    if lies_in_tables(config.out, config.results):
        raise UsageError(f"{config.out} is a table of the run: choose another --out, or it would be read as results")
    file, results = read_labels(config.labels), read_results(config.results)
    cohort = gather(results, file, config.restriction)
    points = operating_points(cohort.sample, config.reading, shortest(results.run.threshold))
    return Evaluation(
        config,
        results.run,
        cohort,
        file.repeated,
        assess(cohort.sample, points, config),
        trace(cohort.sample, config),
        _assess_groups(cohort, points[0], config),
        localise(cohort, config),
    )


def assess(sample: Sample, points: tuple[OperatingPoint, ...], config: EvaluationConfig) -> Performance:
    """Compute the figures of a sample, and their intervals with the thresholds held fixed."""
    prevalence = config.reading.prevalence
    replicates = bootstrap(sample, config.resampling, _figures(sample, points, prevalence))
    performances = []
    for point in points:
        values = metrics.rates(sample, point.threshold, prevalence)
        rates = {name: replicates.interval(f"{point.name}.{name}", value) for name, value in values.items()}
        performances.append(PointPerformance(point, metrics.confusion(sample, point.threshold), rates))
    return Performance(
        sample,
        replicates.interval("auc", metrics.auc(sample)),
        replicates.interval("brier", metrics.brier(sample)),
        tuple(performances),
        replicates.redrawn,
    )


def trace(sample: Sample, config: EvaluationConfig) -> Curves:
    """Compute the curves of a sample of both classes; the resamples are those of `assess`."""
    ranking = Ranking.of(sample)

    def statistics(weights: Floats) -> Mapping[str, Floats]:
        return {"roc": weighted.roc(ranking, weights), "calibration": weighted.calibration(sample, weights)}

    replicates = bootstrap(sample, config.resampling, statistics)
    fpr, tpr, _ = metrics.roc(sample)
    on_grid = weighted.at_grid(fpr, tpr)
    calibration = metrics.calibration(sample)
    return Curves(
        (fpr, tpr),
        _by_column(replicates, "roc", on_grid),
        calibration,
        _by_column(replicates, "calibration", calibration.fractions),
    )


def _figures(
    sample: Sample, points: tuple[OperatingPoint, ...], prevalence: float | None
) -> Callable[[Floats], Mapping[str, Floats]]:
    ranking = Ranking.of(sample)

    def statistics(weights: Floats) -> Mapping[str, Floats]:
        figures = {"auc": weighted.auc(ranking, weights), "brier": weighted.brier(sample, weights)}
        for point in points:
            rates = weighted.rates(sample, point.threshold, prevalence, weights)
            figures |= {f"{point.name}.{name}": values for name, values in rates.items()}
        return figures

    return statistics


def _by_column(replicates: Replicates, name: str, values: Floats) -> tuple[Interval, ...]:
    figures = replicates.figures[name]
    return tuple(interval(float(value), figures[:, column]) for column, value in enumerate(values))


def _assess_groups(cohort: Cohort, point: OperatingPoint, config: EvaluationConfig) -> tuple[GroupPerformance, ...]:
    return tuple(
        GroupPerformance(group.kind, group.name, assess(cohort.sample.take(group.members), (point,), config))
        for group in groups_of(cohort)
    )
