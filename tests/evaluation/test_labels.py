"""A label file is understood as a whole or refused with the line that is wrong."""

import os
from pathlib import Path

import pytest

from bsbatch.errors import UsageError
from bsbatch.evaluation.labels import Label, read_labels
from bsbatch.host import limits

GOOD = "study_uid,label,centre,split,lesions\n1.2.1,0,A,train,0\n1.2.2,1,B,test,7\n"


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_the_columns_of_a_phantom_set_are_read(tmp_path: Path) -> None:
    file = read_labels(written(tmp_path, GOOD))
    assert list(file.labels.values()) == [
        Label("1.2.1", False, None, "A", "train", 0),
        Label("1.2.2", True, None, "B", "test", 7),
    ]
    assert not file.has_patients
    assert file.repeated == 0


def test_two_columns_are_enough_in_any_order(tmp_path: Path) -> None:
    file = read_labels(written(tmp_path, "label,study_uid\n1,1.2.1\n0,1.2.2\n"))
    assert [label.is_positive for label in file.labels.values()] == [True, False]


def test_patients_are_read(tmp_path: Path) -> None:
    file = read_labels(written(tmp_path, "study_uid,label,patient_id\n1,0,P1\n2,1,P1\n"))
    assert file.has_patients
    assert {label.patient_id for label in file.labels.values()} == {"P1"}


def test_additions_of_spreadsheets_are_accepted(tmp_path: Path) -> None:
    text = '\ufeffstudy_uid,label,centre,lesions\r\n"1.2.1", 0 ,"Nowhere, Ltd",\r\n1.2.2,1,,3\r\n\r\n,,,\r\n'
    file = read_labels(written(tmp_path, text))
    assert list(file.labels.values()) == [
        Label("1.2.1", False, None, "Nowhere, Ltd", None, None),
        Label("1.2.2", True, None, None, None, 3),
    ]


def test_rows_that_agree_are_counted(tmp_path: Path) -> None:
    file = read_labels(written(tmp_path, "study_uid,label\n1,0\n2,1\n1,0\n1,0\n"))
    assert (len(file.labels), file.repeated) == (2, 2)


@pytest.mark.parametrize(
    ("rows", "difference"),
    [
        ("study_uid,label\n1,0\n2,1\n1,1\n", "label"),
        ("study_uid,label,centre\n1,0,A\n2,1,A\n1,0,B\n", "centre"),
        ("study_uid,label,patient_id\n1,0,P\n2,1,P\n1,0,Q\n", "patient_id"),
        ("study_uid,label,lesions\n1,0,0\n2,1,3\n1,1,2\n", "label and lesions"),
    ],
)
def test_rows_that_contradict_each_other_are_refused_by_their_lines(tmp_path: Path, rows: str, difference: str) -> None:
    with pytest.raises(UsageError, match=f"lines 2 and 4 .* contradict .* another {difference}\\."):
        read_labels(written(tmp_path, rows))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty: the header must be study_uid,label"),
        ("study_uid\n1\n", "lacks 'label'"),
        ("study_uid;label\n1;0\n", "lacks 'study_uid', 'label' and has the unknown column 'study_uid;label'"),
        ("study_uid,label,patientid\n1,0,P\n", "unknown column 'patientid'"),
        ("study_uid,label,label\n1,0,0\n", "has twice 'label'"),
        ("1.2.1,0\n1.2.2,1\n", "lacks 'study_uid', 'label'"),
        ("study_uid,label\n", "has a header and no row"),
        ("study_uid,label\n1,0\n,1\n", "line 3 .* has no study_uid"),
        ("study_uid,label\n1,\n", "line 2 .*: the label must be 0 .* or 1"),
        ("study_uid,label\n1,positive\n", "line 2 .*: the label must be 0"),
        ("study_uid,label\n1,0\n2\n", "line 3 .* has 1 fields and the header has 2"),
        ("study_uid,label\n1,0,7\n", "line 2 .* has 3 fields and the header has 2"),
        ("study_uid,label,patient_id\n1,0,P\n2,1,\n", "line 3 .* has no patient_id"),
        ("study_uid,label,lesions\n1,1,many\n", "line 2 .*: lesions must be a whole number"),
        ("study_uid,label,lesions\n1,1,-1\n", "line 2 .*: lesions must be a whole number"),
        ("study_uid,label,lesions\n1,1,100001\n", "line 2 .*: lesions must be a whole number from 0 to 100000"),
        (f"study_uid,label,lesions\n1,1,{'9' * 30}\n", "line 2 .*: lesions must be a whole number"),
        (f"study_uid,label,lesions\n1,1,{'9' * 5000}\n", "line 2 .*: lesions must be a whole number"),
        ("study_uid,label\n1,0\n2,0\n", "every study .* is labelled 0: .* both classes"),
        ("study_uid,label\n1,1\n", "every study .* is labelled 1"),
        ('study_uid,label\n"1,0\n', "is not a CSV file"),
        (b"study_uid,label\n\xff\xfe,0\n", "is not text in UTF-8"),
    ],
)
def test_each_fault_is_named(tmp_path: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_labels(written(tmp_path, text))


def test_columns_that_are_named_are_read_and_others_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "study_uid,label,sex,age,ward\n1,0,F,71,north\n2,1,,,\n")
    with pytest.raises(UsageError, match=r"unknown column 'ward'.*--by NAME admits another column"):
        read_labels(file)
    with pytest.raises(UsageError, match="lacks 'camera'"):
        read_labels(file, ("ward", "camera"))
    one, other = read_labels(file, ("ward",)).labels.values()
    assert (one.sex, one.age, one.others) == ("F", 71, ("north",))
    assert (other.sex, other.age, other.others) == (None, None, (None,))


@pytest.mark.parametrize("age", ["young", "-1", "131", "7.5"])
def test_an_age_is_a_number_of_years(tmp_path: Path, age: str) -> None:
    with pytest.raises(UsageError, match=r"line 3 .*: age must be a whole number from 0 to 130"):
        read_labels(written(tmp_path, f"study_uid,label,age\n1,0,44\n2,1,{age}\n"))


def test_rows_that_differ_in_a_named_column_contradict_each_other(tmp_path: Path) -> None:
    rows = "study_uid,label,ward\n1,0,north\n2,1,north\n1,0,south\n"
    with pytest.raises(UsageError, match="another value of a column that --by names"):
        read_labels(written(tmp_path, rows), ("ward",))


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the labels .* No such file"):
        read_labels(tmp_path / "labels.csv")


def test_a_pipe_is_a_usage_error_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "labels.csv")
    with pytest.raises(UsageError, match=r"cannot read the labels .* not a plain file"):
        read_labels(tmp_path / "labels.csv")


def test_a_wrong_value_is_not_quoted(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        read_labels(written(tmp_path, "study_uid,label\n1,Secret Patience\n"))
    assert "Secret" not in str(error.value)


@pytest.mark.parametrize("value", ["'-12", "-12"])
def test_an_apostrophe_that_keeps_a_spreadsheet_from_computing_is_no_part_of_a_value(
    tmp_path: Path, value: str
) -> None:
    path = written(tmp_path, f"study_uid,label,patient_id\n1,0,{value}\n2,1,b\n")
    assert [label.patient_id for label in read_labels(path).labels.values()] == ["-12", "b"]


def test_a_file_longer_than_any_label_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)

    with pytest.raises(UsageError, match="longer than"):
        read_labels(path)


def test_a_file_of_more_lines_than_any_label_file_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LABEL_LINES", 10)
    path = tmp_path / "labels.csv"
    path.write_bytes(b"study_uid,label\n" + b"1,0\n" * limits.LABEL_LINES)

    with pytest.raises(UsageError, match="more than 10 lines"):
        read_labels(path)
