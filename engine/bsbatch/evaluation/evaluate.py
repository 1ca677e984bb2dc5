"""An evaluation: read, join, choose operating points, compute, resample."""

from collections.abc import Callable, Mapping

import numpy as np

from bsbatch.errors import UsageError
from bsbatch.evaluation import metrics, weighted
from bsbatch.evaluation.bootstrap import Interval, Replicates, bootstrap, interval
from bsbatch.evaluation.cohort import Cohort, gather, groups_of
from bsbatch.evaluation.fairness import differences
from bsbatch.evaluation.labels import labels_for
from bsbatch.evaluation.localisation import localise
from bsbatch.evaluation.metrics import bin_of
from bsbatch.evaluation.operating import operating_points, shortest
from bsbatch.evaluation.performance import (
    BINS,
    Calibration,
    Curves,
    Evaluation,
    GroupPerformance,
    OperatingPoint,
    Performance,
    PointPerformance,
)
from bsbatch.evaluation.results import lies_in_tables, read_results
from bsbatch.evaluation.rivals import compare
from bsbatch.evaluation.sample import Floats, Sample
from bsbatch.evaluation.settings import EvaluationConfig
from bsbatch.evaluation.statistics.calibration import Reliability, calibration_error, intercept, murphy, slope
from bsbatch.evaluation.transfer import transfer
from bsbatch.evaluation.weighted import Ranking, reweight


def evaluate(config: EvaluationConfig) -> Evaluation:
    """Compare the results of a run with labels.

    Raises
    ------
    UsageError
        Results or labels cannot be used as they are; nothing was written.
    """
    if lies_in_tables(config.out, config.results):
        raise UsageError(f"{config.out} is a table of the run: choose another --out, or it would be read as results")
    file, results = (
        labels_for(config.results, config.labels, config.table, config.columns),
        read_results(config.results),
    )
    cohort = gather(results, file, config.restriction)
    points = operating_points(cohort.sample, config.decisions, shortest(results.run.threshold))
    threshold = points[0].threshold
    return Evaluation(
        config,
        results.run,
        cohort,
        file.repeated,
        assess(cohort.sample, points, config),
        trace(cohort.sample, config),
        calibrate(cohort.sample, config),
        _assess_groups(cohort, points[0], config),
        differences(cohort, threshold, config),
        transfer(cohort, config),
        None if config.rival is None else compare(cohort, threshold, config.rival),
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
    once = _metrics_of_resamples(sample, (), prevalence)(np.ones((1, sample.size)))
    whole = {name: replicates.interval(name, float(value[0])) for name, value in once.items()}
    return Performance(sample, **whole, points=tuple(performances), redrawn=replicates.redrawn)


def trace(sample: Sample, config: EvaluationConfig) -> Curves:
    """Compute the curves of a sample of both classes, over the same resamples as `assess`."""
    ranking, prevalence = Ranking.of(sample), config.decisions.prevalence

    def compute(weights: Floats) -> Mapping[str, Floats]:
        scaled = reweight(sample, weights, prevalence)
        return {
            "roc": weighted.roc(ranking, weights),
            "calibration": Reliability.of(sample, scaled).fractions,
            "precision": weighted.precision(ranking, scaled),
            "net_benefit": weighted.decision_curve(ranking, scaled),
        }

    replicates = bootstrap(sample, config.resampling, compute)
    ones = np.ones((1, sample.size))
    intervals = {name: _intervals_by_column(replicates, name, value[0]) for name, value in compute(ones).items()}
    bins = Reliability.of(sample, reweight(sample, ones, prevalence))
    sizes = np.bincount(bin_of(sample.scores), minlength=BINS)
    return Curves(
        metrics.roc(sample)[:2],
        intervals["roc"],
        Calibration(tuple(map(int, sizes)), bins.mean_scores[0], bins.fractions[0]),
        intervals["calibration"],
        intervals["precision"],
        intervals["net_benefit"],
        float(bins.prevalence[0]),
    )


def calibrate(sample: Sample, config: EvaluationConfig) -> dict[str, Interval]:
    """Compute slope and intercept of the calibration and the parts of the Brier score, over the same resamples."""

    def compute(weights: Floats) -> Mapping[str, Floats]:
        scaled = reweight(sample, weights, config.decisions.prevalence)
        parts = murphy(Reliability.of(sample, scaled), weighted.brier(sample, scaled))
        return {
            "calibration_slope": slope(sample, scaled),
            "calibration_intercept": intercept(sample, scaled),
            **{f"brier_{name}": part for name, part in parts.items()},
        }

    replicates = bootstrap(sample, config.resampling, compute)
    once = compute(np.ones((1, sample.size)))
    return {name: replicates.interval(name, float(value[0])) for name, value in once.items()}


def _metrics_of_resamples(
    sample: Sample, points: tuple[OperatingPoint, ...], prevalence: float | None
) -> Callable[[Floats], Mapping[str, Floats]]:
    ranking = Ranking.of(sample)

    def compute(weights: Floats) -> Mapping[str, Floats]:
        scaled = reweight(sample, weights, prevalence)
        values = {
            "auc": weighted.auc(ranking, weights),
            "brier": weighted.brier(sample, scaled),
            "average_precision": weighted.average_precision(ranking, scaled),
            "calibration_error": calibration_error(Reliability.of(sample, scaled)),
        }
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
        for group in groups_of(cohort, config.columns)
    )
