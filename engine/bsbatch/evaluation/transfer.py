"""Thresholds that are chosen at one centre and used at another."""

from collections.abc import Mapping

from bsbatch.evaluation import metrics, weighted
from bsbatch.evaluation.bootstrap import bootstrap
from bsbatch.evaluation.cohort import Cohort, groups_of
from bsbatch.evaluation.operating import at_sensitivity, youden
from bsbatch.evaluation.performance import Transfer
from bsbatch.evaluation.sample import Floats, Sample
from bsbatch.evaluation.settings import EvaluationConfig

SIDES = ("sensitivity", "specificity")


def transfer(cohort: Cohort, config: EvaluationConfig) -> tuple[Transfer, ...]:
    """Use the thresholds of each centre with both classes at each other one; nothing with fewer than two centres."""
    centres = {group.name: cohort.sample.take(group.members) for group in groups_of(cohort) if group.kind == "centre"}
    thresholds = {
        name: {"youden": youden(sample), "sensitivity": at_sensitivity(sample, config.decisions.sensitivity)}
        for name, sample in centres.items()
        if sample.positives and sample.negatives
    }
    return tuple(
        item
        for target, sample in centres.items()
        for item in _use(sample, target, {name: kinds for name, kinds in thresholds.items() if name != target}, config)
    )


def _use(
    sample: Sample, target: str, thresholds: Mapping[str, Mapping[str, float]], config: EvaluationConfig
) -> list[Transfer]:
    pairs = [(origin, rule, value) for origin, kinds in thresholds.items() for rule, value in kinds.items()]
    if not pairs:
        return []

    def compute(weights: Floats) -> Mapping[str, Floats]:
        return {
            f"{origin}/{rule}/{side}": weighted.rates(sample, threshold, None, weights)[side]
            for origin, rule, threshold in pairs
            for side in SIDES
        }

    replicates = bootstrap(sample, config.resampling, compute)
    items = []
    for origin, rule, threshold in pairs:
        rates = metrics.rates(sample, threshold, None)
        intervals = {side: replicates.interval(f"{origin}/{rule}/{side}", rates[side]) for side in SIDES}
        items.append(Transfer(origin, target, rule, threshold, intervals))
    return items
