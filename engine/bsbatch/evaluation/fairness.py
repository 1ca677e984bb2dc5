"""Differences between subgroups of patients: sex, band of age, and the columns that ``--by`` names.

Equal sensitivity is equality of opportunity; equal sensitivity and specificity are equalised odds (Hardt, Price and
Srebro, NeurIPS 2016).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from bsbatch.evaluation import weighted
from bsbatch.evaluation.bootstrap import bootstrap
from bsbatch.evaluation.cohort import Cohort, Group, groups_of
from bsbatch.evaluation.performance import Difference
from bsbatch.evaluation.sample import Floats, Sample
from bsbatch.evaluation.settings import EvaluationConfig
from bsbatch.evaluation.weighted import Ranking

DIFFERENCES = ("sensitivity", "specificity", "auc")
_KINDS = ("sex", "age")


def differences(cohort: Cohort, threshold: float, config: EvaluationConfig) -> tuple[Difference, ...]:
    """Compare each subgroup with the largest one of its kind, in the same resamples of all patients."""
    kinds: dict[str, list[Group]] = {}
    for group in groups_of(cohort, config.columns):
        if group.kind in (*_KINDS, *config.columns):
            kinds.setdefault(group.kind, []).append(group)
    return tuple(item for groups in kinds.values() for item in _compare(cohort.sample, groups, threshold, config))


def _compare(sample: Sample, groups: Sequence[Group], threshold: float, config: EvaluationConfig) -> list[Difference]:
    largest = max(groups, key=lambda group: int(group.members.sum()))
    parts = {group.name: (group.members, sample.take(group.members)) for group in groups}
    rankings = {name: Ranking.of(part) for name, (_, part) in parts.items()}

    def compute(weights: Floats) -> Mapping[str, Floats]:
        values: dict[str, Floats] = {}
        for name, (members, part) in parts.items():
            own = weights[:, members]
            rates = weighted.rates(part, threshold, None, own) | {"auc": weighted.auc(rankings[name], own)}
            values |= {f"{metric}/{name}": rates[metric] for metric in DIFFERENCES}
        return {key: value - values[f"{key.partition('/')[0]}/{largest.name}"] for key, value in values.items()}

    once = compute(np.ones((1, sample.size)))
    replicates = bootstrap(sample, config.resampling, compute)
    return [
        Difference(
            group.kind,
            group.name,
            largest.name,
            {
                metric: replicates.interval(f"{metric}/{group.name}", float(once[f"{metric}/{group.name}"][0]))
                for metric in DIFFERENCES
            },
        )
        for group in groups
        if group is not largest
    ]
