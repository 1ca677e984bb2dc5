"""Agreement of two runs on the examinations that both have scored: differences of scores, flips, and tests with labels.

The runs may differ in model, backend, threshold or in the software that wrote the objects. Examinations are paired by
``exam_id``; where other software gave the objects new UIDs, by study if either run has one examination of it left.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np
from scipy.stats import t

from bsbatch.cohort.settings import LabelTable
from bsbatch.errors import UsageError
from bsbatch.evaluation.bootstrap import CONFIDENCE, Interval
from bsbatch.evaluation.labels import labels_for
from bsbatch.evaluation.operating import shortest
from bsbatch.evaluation.performance import Mcnemar, Rivalry
from bsbatch.evaluation.results import ResultRow, Run, read_results
from bsbatch.evaluation.rivals import compare_scores
from bsbatch.evaluation.sample import Floats
from bsbatch.evaluation.statistics.paired import mcnemar

_FEWEST = 2
"""Pairs that a standard deviation needs."""
_LIMIT = 1.96
"""Standard deviations between the mean difference and a limit of agreement."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An examination that both runs have scored."""

    exam_id: str
    """In the first run."""
    first: float
    second: float
    """Scores in [0, 1]."""
    decisions: tuple[bool, bool]
    """True where positive, each at the threshold of its run."""
    label: bool | None
    """True with metastasis; None without a label."""

    @property
    def difference(self) -> float:
        """Second score less the first."""
        return self.second - self.first


@dataclass(frozen=True, slots=True)
class Agreement:
    """Comparison of two runs."""

    runs: tuple[Run, Run]
    thresholds: tuple[float, float]
    pairs: tuple[Pair, ...]
    """Largest difference first."""
    by_study: int
    """Pairs whose ``exam_id`` differ, so that they were paired by study."""
    alone: tuple[int, int]
    """Examinations that one of the runs alone has scored."""
    bias: Interval
    """Mean difference, second less first, with its interval by Student's t."""
    limits: tuple[float, float]
    """Limits of agreement: mean difference -+ 1.96 standard deviations (Bland and Altman, Lancet 1986;327:307-310)."""
    changed: Mcnemar
    """Positive in one of the runs alone, by McNemar's test."""
    rivalry: Rivalry | None
    """DeLong's and McNemar's tests against labels; None without labels."""

    @property
    def flips(self) -> tuple[Pair, ...]:
        """Pairs with two decisions."""
        return tuple(pair for pair in self.pairs if pair.decisions[0] != pair.decisions[1])


def compare_runs(first: Path, second: Path, labels: Path | None = None, table: LabelTable | None = None) -> Agreement:
    """Compare the results of two runs.

    Parameters
    ----------
    first, second
        Output folders, or their ``results`` folders.
    labels
        Label file; None compares without.
    table
        How `labels` is joined with the first run, if it is a table of another form.

    Raises
    ------
    UsageError
        Results or labels cannot be used, or the runs share too few scored examinations.
    """
    results = read_results(first), read_results(second)
    thresholds = shortest(results[0].run.threshold), shortest(results[1].run.threshold)
    rows = [[row for row in item.examinations if row.score is not None] for item in results]
    matched = _match(rows[0], rows[1])
    if len(matched) < _FEWEST:
        raise UsageError(
            f"{first} and {second} share {len(matched)} scored examinations: a comparison needs {_FEWEST}. Screen the "
            "same archive twice; with --pseudonymise, with the same key"
        )
    found = {} if labels is None else labels_for(first, labels, table).labels
    known = {study: label.is_positive for study, label in found.items()}
    pairs = [_pair(one, other, thresholds, known) for one, other in matched]
    bias, limits = _bland_altman(np.array([pair.difference for pair in pairs]))
    positive = np.array([pair.decisions for pair in pairs])
    rivalry = None if labels is None else _test(pairs, thresholds, results[1].run)
    return Agreement(
        (results[0].run, results[1].run),
        thresholds,
        tuple(sorted(pairs, key=lambda pair: (-abs(pair.difference), pair.exam_id))),
        sum(one.exam_id != other.exam_id for one, other in matched),
        (len(rows[0]) - len(pairs), len(rows[1]) - len(pairs)),
        bias,
        limits,
        mcnemar(positive[:, 0], positive[:, 1]),
        rivalry,
    )


def _match(first: Iterable[ResultRow], second: Iterable[ResultRow]) -> list[tuple[ResultRow, ResultRow]]:
    ones, others = ({row.exam_id: row for row in rows} for rows in (first, second))
    shared = ones.keys() & others.keys()
    left, right = (
        _only_of_study(row for exam_id, row in rows.items() if exam_id not in shared) for rows in (ones, others)
    )
    same = [(ones[exam_id], others[exam_id]) for exam_id in sorted(shared)]
    return same + [(left[study], right[study]) for study in left if study in right]


def _only_of_study(rows: Iterable[ResultRow]) -> dict[str, ResultRow]:
    """Return the examinations that are the only ones of their study."""
    studies: dict[str, list[ResultRow]] = {}
    for row in rows:
        if row.study_uid:
            studies.setdefault(row.study_uid, []).append(row)
    return {study: found[0] for study, found in studies.items() if len(found) == 1}


def _pair(one: ResultRow, other: ResultRow, thresholds: tuple[float, float], known: Mapping[str, bool]) -> Pair:
    scores = one.score or 0.0, other.score or 0.0
    decisions = [score >= np.float32(limit) for score, limit in zip(scores, thresholds, strict=True)]
    return Pair(one.exam_id, *scores, (bool(decisions[0]), bool(decisions[1])), known.get(one.study_uid or ""))


def _bland_altman(differences: Floats) -> tuple[Interval, tuple[float, float]]:
    mean, spread, n = float(differences.mean()), float(differences.std(ddof=1)), len(differences)
    half = float(t.ppf((1 + CONFIDENCE) / 2, n - 1)) * spread / sqrt(n)
    return Interval(mean, mean - half, mean + half), (mean - _LIMIT * spread, mean + _LIMIT * spread)


def _test(pairs: Iterable[Pair], thresholds: tuple[float, float], rival: Run) -> Rivalry:
    labelled = [pair for pair in pairs if pair.label is not None]
    scores = np.array([(pair.first, pair.second) for pair in labelled], np.float32).reshape(-1, 2)
    labels = np.array([pair.label for pair in labelled], bool)
    return compare_scores(labels, (scores[:, 0], scores[:, 1]), thresholds, rival)
