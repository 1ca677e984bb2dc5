"""An evaluation: read, join, choose operating points, compute, resample."""

from collections.abc import Callable, Mapping

from bsbatch.errors import UsageError
from bsbatch.evaluation import metrics, weighted
from bsbatch.evaluation.bootstrap import Interval, Replicates, bootstrap, interval
from bsbatch.evaluation.cohort import Cohort, gather, groups_of
from bsbatch.evaluation.labels import read_labels
from bsbatch.evaluation.localisation import localise
from bsbatch.evaluation.operating import operating_points, shortest
from bsbatch.evaluation.performance import (
    Curves,
    Evaluation,
    GroupPerformance,
    OperatingPoint,
    Performance,
    PointPerformance,
)
from bsbatch.evaluation.results import lies_in_tables, read_results
from bsbatch.evaluation.sample import Floats, Sample
from bsbatch.evaluation.settings import EvaluationConfig
from bsbatch.evaluation.weighted import Ranking


def evaluate(config: EvaluationConfig) -> Evaluation:
    """Compare the results of a run with labels.

    Raises
    ------
    UsageError
        Results or labels cannot be used as they are; nothing was written.
    """
    if lies_in_tables(config.out, config.results):
        raise UsageError(f"{config.out} is a table of the run: choose another --out, or it would be read as results")
    file, results = read_labels(config.labels), read_results(config.results)
    cohort = gather(results, file, config.restriction)
    points = operating_points(cohort.sample, config.decisions, shortest(results.run.threshold))
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
    """Compute the metrics of a sample, and their intervals with the thresholds fixed."""
    prevalence = config.decisions.prevalence
    replicates = bootstrap(sample, config.resampling, _metrics_of_resamples(sample, points, prevalence))
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
    """Compute the curves of a sample of both classes, over the same resamples as `assess`."""
    ranking = Ranking.of(sample)

    def compute(weights: Floats) -> Mapping[str, Floats]:
        return {"roc": weighted.roc(ranking, weights), "calibration": weighted.calibration(sample, weights)}

    replicates = bootstrap(sample, config.resampling, compute)
    fpr, tpr, _ = metrics.roc(sample)
    on_grid = weighted.at_grid(fpr, tpr)
    calibration = metrics.calibration(sample)
    return Curves(
        (fpr, tpr),
        _intervals_by_column(replicates, "roc", on_grid),
        calibration,
        _intervals_by_column(replicates, "calibration", calibration.fractions),
    )


def _metrics_of_resamples(
    sample: Sample, points: tuple[OperatingPoint, ...], prevalence: float | None
) -> Callable[[Floats], Mapping[str, Floats]]:
    ranking = Ranking.of(sample)

    def compute(weights: Floats) -> Mapping[str, Floats]:
        values = {"auc": weighted.auc(ranking, weights), "brier": weighted.brier(sample, weights)}
        for point in points:
            rates = weighted.rates(sample, point.threshold, prevalence, weights)
            values |= {f"{point.name}.{name}": rate for name, rate in rates.items()}
        return values

    return compute


def _intervals_by_column(replicates: Replicates, name: str, values: Floats) -> tuple[Interval, ...]:
    columns = replicates.values[name]
    return tuple(interval(float(value), columns[:, column]) for column, value in enumerate(values))


def _assess_groups(cohort: Cohort, point: OperatingPoint, config: EvaluationConfig) -> tuple[GroupPerformance, ...]:
    return tuple(
        GroupPerformance(group.kind, group.name, assess(cohort.sample.take(group.members), (point,), config))
        for group in groups_of(cohort)
    )
