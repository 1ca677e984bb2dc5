"""Comparison with the results of another model on the same examinations."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import UsageError
from bsbatch.evaluation.cohort import Cohort
from bsbatch.evaluation.operating import shortest
from bsbatch.evaluation.performance import Rivalry
from bsbatch.evaluation.results import Run, read_results
from bsbatch.evaluation.sample import Mask
from bsbatch.evaluation.statistics.paired import delong, mcnemar

Scores = NDArray[np.float32]
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
    return compare_scores(labels, (first, second), (threshold, shortest(others.run.threshold)), others.run)


def compare_scores(labels: Mask, scores: tuple[Scores, Scores], thresholds: tuple[float, float], rival: Run) -> Rivalry:
    """Compare the scores ``(N,)`` of two models on the same labelled examinations.

    Raises
    ------
    UsageError
        Too few examinations are of either class.
    """
    positives = int(labels.sum())
    if min(positives, len(labels) - positives) < _FEWEST:
        raise UsageError(
            f"both runs have scored {len(labels)} of the labelled examinations, {positives} of them positive: "
            f"a comparison with labels needs at least {_FEWEST} of either class"
        )
    right = [(values >= np.float32(limit)) == labels for values, limit in zip(scores, thresholds, strict=True)]
    chosen = {"positives": labels, "negatives": ~labels, "all": np.ones_like(labels)}
    decisions = {name: mcnemar(right[0][members], right[1][members]) for name, members in chosen.items()}
    return Rivalry(rival, len(labels), positives, thresholds, delong(labels, *scores), decisions)
