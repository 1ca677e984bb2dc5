"""Two runs compared: every number is computed here by its definition."""

from collections.abc import Sequence
from math import comb, sqrt
from pathlib import Path

import numpy as np
import pytest
from tests.evaluation.made import CONFIG, Exam, write_labels, write_results

from bsbatch.errors import UsageError
from bsbatch.evaluation.agreement import Agreement, compare_runs
from bsbatch.evaluation.agreement_words import sentences, table_rows
from bsbatch.store.parts import write_part
from bsbatch.store.tables import RESULTS, to_table

FIRST = [0.1, 0.2, 0.3, 0.45, 0.55, 0.6, 0.7, 0.8, 0.9, 0.95]
SECOND = [0.15, 0.1, 0.52, 0.4, 0.45, 0.75, 0.65, 0.9, 0.85, 0.97]
LABELS = [0, 0, 0, 1, 0, 1, 0, 1, 1, 1]
STUDENT_9 = 2.262157
"""97.5th percentile of Student's t with 9 degrees of freedom, from a table."""


def run(folder: Path, scores: Sequence[float | None]) -> Path:
    return write_results(folder, [Exam(f"1.2.{place}", score) for place, score in enumerate(scores)])


def labels_in(folder: Path, labels: Sequence[int] = LABELS) -> Path:
    return write_labels(
        folder / "labels.csv", [{"study_uid": f"1.2.{at}", "label": it} for at, it in enumerate(labels)]
    )


@pytest.fixture
def agreement(tmp_path: Path) -> Agreement:
    return compare_runs(run(tmp_path / "one", FIRST), run(tmp_path / "other", SECOND), labels_in(tmp_path))


def binomial_p(one: int, other: int) -> float:
    """Two-sided exact p of McNemar's test: twice the smaller tail of the binomial distribution with chance 1/2."""
    tail = sum(comb(one + other, number) for number in range(min(one, other) + 1)) / 2 ** (one + other)
    return float(min(1.0, 2 * tail))


def auc(labels: Sequence[int], scores: Sequence[float]) -> float:
    """Share of pairs of a positive and a negative in which the positive has the higher score; ties count half."""
    positive = [score for score, label in zip(scores, labels, strict=True) if label]
    negative = [score for score, label in zip(scores, labels, strict=True) if not label]
    wins = [(one > other) + 0.5 * (one == other) for one in positive for other in negative]
    return sum(wins) / len(wins)


def delong_error(labels: Sequence[int], first: Sequence[float], second: Sequence[float]) -> float:
    """Standard error of the difference of two AUC: variances of the differences of structural components."""
    groups = [[at for at, label in enumerate(labels) if label == wanted] for wanted in (1, 0)]

    def components(scores: Sequence[float], own: list[int], others: list[int], sign: int) -> np.ndarray:
        return np.array(
            [
                np.mean([(sign * (scores[a] - scores[b]) > 0) + 0.5 * (scores[a] == scores[b]) for b in others])
                for a in own
            ]
        )

    total = 0.0
    for own, others, sign in ((groups[0], groups[1], 1), (groups[1], groups[0], -1)):
        differences = components(second, own, others, sign) - components(first, own, others, sign)
        total += differences.var(ddof=1) / len(own)
    return sqrt(total)


def test_the_mean_difference_has_an_interval_and_limits_of_agreement(agreement: Agreement) -> None:
    differences = [other - one for one, other in zip(FIRST, SECOND, strict=True)]
    mean = sum(differences) / 10
    spread = sqrt(sum((item - mean) ** 2 for item in differences) / 9)

    assert agreement.bias.value == pytest.approx(mean, abs=1e-6)
    assert agreement.bias.low == pytest.approx(mean - STUDENT_9 * spread / sqrt(10), abs=1e-5)
    assert agreement.bias.high == pytest.approx(mean + STUDENT_9 * spread / sqrt(10), abs=1e-5)
    assert agreement.limits == pytest.approx((mean - 1.96 * spread, mean + 1.96 * spread), abs=1e-5)


def test_flips_are_listed_and_tested(agreement: Agreement) -> None:
    flips = [(round(pair.first, 6), round(pair.second, 6)) for pair in agreement.flips]

    assert flips == [(0.3, 0.52), (0.55, 0.45)]
    assert (agreement.changed.first, agreement.changed.second) == (1, 1)
    assert agreement.changed.p_value == pytest.approx(binomial_p(1, 1))


def test_the_tests_against_labels_are_those_of_delong_and_mcnemar(agreement: Agreement) -> None:
    rivalry = agreement.rivalry
    assert rivalry is not None
    areas = auc(LABELS, FIRST), auc(LABELS, SECOND)
    error = delong_error(LABELS, FIRST, SECOND)

    assert (rivalry.auc.first, rivalry.auc.second) == pytest.approx(areas)
    assert rivalry.auc.difference.value == pytest.approx(areas[1] - areas[0])
    assert rivalry.auc.difference.high - rivalry.auc.difference.value == pytest.approx(1.959964 * error, abs=1e-6)
    right = [
        [(score >= 0.5) == bool(label) for score, label in zip(scores, LABELS, strict=True)]
        for scores in (FIRST, SECOND)
    ]
    alone = sum(a and not b for a, b in zip(*right, strict=True)), sum(b and not a for a, b in zip(*right, strict=True))
    assert (rivalry.decisions["all"].first, rivalry.decisions["all"].second) == alone
    assert rivalry.decisions["all"].p_value == pytest.approx(binomial_p(*alone))


def test_each_run_decides_at_its_own_threshold(tmp_path: Path) -> None:
    one = run(tmp_path / "one", [0.3, 0.6])
    other = write_results(tmp_path / "other", [Exam("1.2.0", 0.3), Exam("1.2.1", 0.6)], threshold=0.2)

    agreement = compare_runs(one, other)

    assert agreement.thresholds == (0.5, 0.2)
    assert [pair.decisions for pair in agreement.flips] == [(False, True)]
    assert agreement.rivalry is None


def test_examinations_of_one_run_alone_are_counted_and_left_out(tmp_path: Path) -> None:
    agreement = compare_runs(
        run(tmp_path / "one", [0.1, 0.2, 0.3, None, 0.5]), run(tmp_path / "other", [0.1, 0.2, None, 0.4])
    )

    assert len(agreement.pairs) == 2
    assert agreement.alone == (2, 1)


def test_examinations_with_other_uids_are_paired_by_study_where_it_has_one(tmp_path: Path) -> None:
    """As after reprocessing by other software: new exam_ids, the same studies. The last study has two examinations."""
    rows = [
        {"exam_id": f"{number + 100:032x}", "study_uid": f"1.2.{min(number, 3)}", "status": "ok", "p_metastasis": 0.9}
        | {"threshold": 0.5, "model_id": "feed", "config_hash": CONFIG}
        for number in range(5)
    ]
    (tmp_path / "other" / RESULTS).mkdir(parents=True)
    write_part(tmp_path / "other" / RESULTS, 0, to_table(RESULTS, rows, CONFIG))

    agreement = compare_runs(run(tmp_path / "one", [0.1, 0.2, 0.3, 0.4]), tmp_path / "other")

    assert agreement.by_study == 3
    assert sorted(pair.first for pair in agreement.pairs) == pytest.approx([0.1, 0.2, 0.3])
    assert agreement.alone == (1, 2)
    assert "3 examinations have other UIDs and were paired by study." in sentences(agreement)


def test_runs_that_share_nothing_are_refused_with_what_to_do(tmp_path: Path) -> None:
    stranger = write_results(tmp_path / "other", [Exam("9.9.1", None), Exam("9.9.2", None)])

    with pytest.raises(UsageError, match=r"share 0 scored examinations.*Screen the same archive twice"):
        compare_runs(run(tmp_path / "one", FIRST), stranger)


def test_labels_of_too_few_shared_examinations_are_refused(tmp_path: Path) -> None:
    one, other = run(tmp_path / "one", FIRST), run(tmp_path / "other", SECOND[:4])

    with pytest.raises(UsageError, match="4 of the labelled examinations, 1 of them positive"):
        compare_runs(one, other, labels_in(tmp_path))


def test_a_run_agrees_with_itself(tmp_path: Path) -> None:
    out = run(tmp_path / "one", FIRST)
    agreement = compare_runs(out, out, labels_in(tmp_path))

    assert (agreement.bias.value, *agreement.limits) == (0, 0, 0)
    assert not agreement.flips
    assert any("p not defined (DeLong)" in sentence for sentence in sentences(agreement))


def test_the_table_has_both_sides(agreement: Agreement) -> None:
    rows = {name: values for name, *values in table_rows(agreement)}

    assert rows["positive"] == ["6", "6"]
    assert rows["positive in it alone (flips)"] == ["1", "1"]
    assert rows["ROC AUC of 10 with a label"] == [f"{auc(LABELS, FIRST):.3f}", f"{auc(LABELS, SECOND):.3f}"]
