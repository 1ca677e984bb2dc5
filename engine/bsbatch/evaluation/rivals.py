"""Comparison with the results of another model on the same examinations."""

from pathlib import Path

import numpy as np

from bsbatch.errors import UsageError
from bsbatch.evaluation.cohort import Cohort
from bsbatch.evaluation.operating import shortest
from bsbatch.evaluation.performance import Rivalry
from bsbatch.evaluation.results import read_results
from bsbatch.evaluation.statistics.paired import delong, mcnemar

_FEWEST = 2
"""Examinations of either class that a variance needs."""


def compare(cohort: Cohort, threshold: float, rival: Path) -> Rivalry:
    """Compare with another run; each decides at its threshold.

    Raises
    ------
    UsageError
        The other results cannot be read, or too few examinations of either class are scored in both.
    """
    others = read_results(rival)
    scores = {item.exam_id: item.score for item in others.examinations if item.score is not None}
    shared = [index for index, case in enumerate(cohort.cases) if case.examination.exam_id in scores]
    sample = cohort.sample
    labels, first = sample.labels[shared], sample.scores[shared]
    second = np.array([scores[cohort.cases[index].examination.exam_id] for index in shared], np.float32)
    positives = int(labels.sum())
    if min(positives, len(shared) - positives) < _FEWEST:
        raise UsageError(
            f"--compare {rival} shares {len(shared)} labelled examinations with this run, {positives} of them "
            f"positive: a comparison needs at least {_FEWEST} of either class that both runs have scored"
        )
    thresholds = threshold, shortest(others.run.threshold)
    right = [(values >= np.float32(limit)) == labels for values, limit in zip((first, second), thresholds, strict=True)]
    chosen = {"positives": labels, "negatives": ~labels, "all": np.ones_like(labels)}
    decisions = {name: mcnemar(right[0][members], right[1][members]) for name, members in chosen.items()}
    return Rivalry(others.run, len(shared), positives, thresholds, delong(labels, first, second), decisions)
