"""Results and labels are joined; examinations and studies without a partner are counted and listed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.evaluation.made import Exam, write_labels, write_results

from bsbatch.errors import UsageError
from bsbatch.evaluation.cohort import Cohort, Exclusion, gather, groups_of
from bsbatch.evaluation.labels import read_labels
from bsbatch.evaluation.results import lies_in_tables, read_results
from bsbatch.evaluation.settings import Restriction

EXAMS = (Exam("1", 0.1), Exam("2", 0.9), Exam("3", 0.4), Exam("3", 0.6), Exam("4", None), Exam("5", 0.5))
ROWS = [{"study_uid": uid, "label": label} for uid, label in (("1", 0), ("2", 1), ("3", 1), ("4", 0), ("9", 0))]


def join(
    folder: Path,
    exams: Sequence[Exam] = EXAMS,
    rows: Sequence[Mapping[str, object]] = ROWS,
    restriction: Restriction | None = None,
) -> Cohort:
    out, labels = write_results(folder / "out", exams), write_labels(folder / "labels.csv", rows)
    return gather(read_results(out), read_labels(labels), restriction or Restriction())


def test_nothing_is_dropped_in_silence(tmp_path: Path) -> None:
    cohort = join(tmp_path)
    assert [case.label.study_uid for case in cohort.cases] == ["1", "2", "3", "3"]
    assert cohort.sample.scores.tolist() == pytest.approx([0.1, 0.9, 0.4, 0.6])
    assert {(item.exclusion, item.study_uid, item.reason) for item in cohort.unmatched} == {
        (Exclusion.NO_RESULT, "9", None),
        (Exclusion.NOT_SCORED, "4", "single_view_only"),
        (Exclusion.NO_LABEL, "5", None),
    }
    assert (
        len(EXAMS)
        == cohort.sample.size + cohort.exclusions[Exclusion.NOT_SCORED] + cohort.exclusions[Exclusion.NO_LABEL]
    )


def test_examinations_of_one_study_stay_together(tmp_path: Path) -> None:
    cohort = join(tmp_path)
    assert list(cohort.sample.patients) == [0, 1, 2, 2]
    assert cohort.resampling_unit == "study_uid"
    assert cohort.studies == 3


def test_studies_of_one_patient_stay_together(tmp_path: Path) -> None:
    cohort = join(tmp_path, rows=[row | {"patient_id": "P" if row["study_uid"] in {"1", "2"} else "Q"} for row in ROWS])
    assert list(cohort.sample.patients) == [0, 0, 1, 1]
    assert cohort.resampling_unit == "patient_id"


def test_without_a_patient_id_the_studies_of_one_patient_key_stay_together(tmp_path: Path) -> None:
    cohort = join(tmp_path, [replace(exam, patient="K" if exam.study in {"1", "2"} else "L") for exam in EXAMS])
    assert list(cohort.sample.patients) == [0, 0, 1, 1]
    assert cohort.resampling_unit == "patient_key"


def test_one_patient_key_for_most_examinations_is_a_placeholder(tmp_path: Path) -> None:
    cohort = join(tmp_path, [replace(exam, patient="K" if exam.study != "1" else "L") for exam in EXAMS])
    assert cohort.resampling_unit == "study_uid"


def test_patient_keys_of_some_examinations_alone_are_left_out(tmp_path: Path) -> None:
    cohort = join(tmp_path, [replace(exam, patient="K" if exam.study == "1" else None) for exam in EXAMS])
    assert cohort.resampling_unit == "study_uid"


def test_an_examination_without_a_study_uid_has_no_label(tmp_path: Path) -> None:
    assert join(tmp_path, [*EXAMS, Exam(None, 0.7)]).exclusions[Exclusion.NO_LABEL] == 2


def test_a_study_with_one_failed_and_one_scored_examination_takes_part_and_is_listed(tmp_path: Path) -> None:
    cohort = join(tmp_path, [*EXAMS, Exam("1", None)])
    assert cohort.sample.size == 4
    assert ("1", "single_view_only") in {(item.study_uid, item.reason) for item in cohort.unmatched}


@pytest.mark.parametrize("column", ["split", "centre"])
def test_studies_outside_a_restriction_are_left_out_and_counted(tmp_path: Path, column: str) -> None:
    rows = [row | {column: "x" if row["study_uid"] in {"1", "2"} else "y"} for row in ROWS]
    cohort = join(tmp_path, rows=rows, restriction=Restriction(**{column: "x"}))
    assert cohort.sample.size == 2
    assert cohort.exclusions == {Exclusion.OUTSIDE: 3, Exclusion.NO_LABEL: 1}


@pytest.mark.parametrize(
    ("restriction", "words"),
    [
        (Restriction(split="test"), "--split needs a column split"),
        (Restriction(centre="Z"), "no labelled study is of centre 'Z'; available: A, B"),
        (Restriction(centre="B"), "all 2 scored examinations with a label are labelled 1"),
    ],
)
def test_a_restriction_that_leaves_nothing_to_evaluate_is_refused(
    tmp_path: Path, restriction: Restriction, words: str
) -> None:
    rows = [row | {"centre": "B" if row["study_uid"] == "3" else "A"} for row in ROWS]
    with pytest.raises(UsageError, match=words):
        join(tmp_path, rows=rows, restriction=restriction)


def test_labels_of_another_archive_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no labelled study has a scored examination"):
        join(tmp_path, [Exam("8", 0.5)])


def test_pseudonyms_are_named_as_a_cause(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/run.json").write_text('{"config": {"pseudonymised": true}}', encoding="utf-8")
    with pytest.raises(UsageError, match="replaced UIDs by pseudonyms"):
        join(tmp_path, [Exam("8", 0.5)])


def test_groups_cover_the_cohort_and_each_load_is_compared_with_all_negatives(tmp_path: Path) -> None:
    exams = [Exam(str(place), place / 10, ("Alpha", None)[place % 2]) for place in range(10)]
    lesions = (0, 0, 0, 1, 2, 5, 6, 21, "", 0)
    rows = [
        {"study_uid": str(place), "label": int(place > 2), "centre": "AB"[place > 4], "lesions": lesions[place]}
        for place in range(10)
    ]
    groups = groups_of(join(tmp_path, exams, rows))
    sizes = {(group.kind, group.name): int(group.members.sum()) for group in groups}
    assert sizes == {
        ("centre", "A"): 5,
        ("centre", "B"): 5,
        ("manufacturer", "Alpha"): 5,
        ("manufacturer", "unknown"): 5,
        ("lesions", "0"): 4,
        ("lesions", "1"): 4,
        ("lesions", "2 to 5"): 5,
        ("lesions", "6 to 20"): 4,
        ("lesions", "more than 20"): 4,
        ("lesions", "unknown"): 4,
    }


def test_the_results_folder_may_be_named_itself(tmp_path: Path) -> None:
    out = write_results(tmp_path / "out", EXAMS)
    assert read_results(out / "results") == read_results(out)


def test_a_folder_without_results_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no results"):
        read_results(tmp_path)


def test_a_run_that_found_nothing_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no examination"):
        read_results(write_results(tmp_path, []))


def test_results_of_two_configurations_are_refused(tmp_path: Path) -> None:
    write_results(tmp_path, EXAMS)
    (tmp_path / "results/part-000000.parquet").rename(tmp_path / "results/part-000001.parquet")
    write_results(tmp_path, EXAMS, model_id="another")
    with pytest.raises(UsageError, match="results of 2 configurations"):
        read_results(tmp_path)


def test_a_damaged_part_is_a_usage_error(tmp_path: Path) -> None:
    write_results(tmp_path, EXAMS)
    (tmp_path / "results/part-000000.parquet").write_bytes(b"PAR1")
    with pytest.raises(UsageError, match="cannot be read"):
        read_results(tmp_path)


def test_a_foreign_table_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    pq.write_table(pa.table({"a": [1]}), tmp_path / "results/part-000000.parquet")
    with pytest.raises(UsageError, match="was not written by bsbatch run"):
        read_results(tmp_path)


def test_a_report_in_a_table_would_be_read_as_results(tmp_path: Path) -> None:
    out = write_results(tmp_path / "out", EXAMS)
    assert lies_in_tables(out / "results", out)
    assert lies_in_tables(out / "objects" / "report", out / "results")
    assert not lies_in_tables(out / "report", out)
