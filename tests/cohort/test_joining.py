"""Joins agree with ones written by hand with pandas, and list every row that they leave out."""

import io
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsbatch.cohort.examined import Examined, ExaminedSet
from bsbatch.cohort.joining import Cause, Joined, join
from bsbatch.cohort.settings import Join, LabelOptions, LabelTable
from bsbatch.errors import UsageError
from bsbatch.pseudonyms import PatientKeys

FIRST = date(2020, 1, 1)
KEYS = PatientKeys.of(b"secret")


def examined_set(*items: Examined) -> ExaminedSet:
    return ExaminedSet(items, lambda text: text, lambda text: text, is_identified=True)


def hashed(plain: ExaminedSet) -> ExaminedSet:
    """The same examinations without their identity."""
    items = tuple(
        item._replace(accession=KEYS.accession(item.accession), patient=KEYS.patient(item.patient), issuer=None)
        for item in plain.examinations
    )
    return ExaminedSet(items, KEYS.accession, KEYS.patient, is_identified=False)


def exam(study: str | None, accession: str | None = None, patient: str | None = None, day: int = 0) -> Examined:
    return Examined(f"e{study}{accession}", study, accession, patient, None, FIRST + timedelta(day))


def joined(folder: Path, text: str, by: str, examined: ExaminedSet, columns: Sequence[str] = ()) -> Joined:
    (folder / "t.csv").write_text(text, encoding="utf-8")
    return join(LabelTable(folder / "t.csv", Join.parse(by), "meta", ("ja",), ("nein",)), examined, columns)


def labels_of(found: Joined) -> dict[str, bool]:
    return {row.study_uid: row.is_positive for row in found.rows}


def causes_of(found: Joined) -> dict[int, Cause]:
    return dict(found.unjoined)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("joins")


NUMBERS = st.sampled_from(["", "1", "2", "3", "4"])
EXAMS = st.lists(
    st.builds(exam, st.sampled_from(["1.1", "1.2", "1.3"]), NUMBERS, NUMBERS, st.integers(0, 20)), max_size=8
)
ROWS = st.lists(
    st.tuples(NUMBERS, st.integers(0, 20), st.sampled_from(["ja", "nein", "Ja ", "", "?"]), st.sampled_from("xy")),
    min_size=1,
    max_size=8,
)
Rows = Sequence[tuple[str, int, str, str]]


def by_hand(rows: pd.DataFrame, pairs: pd.DataFrame) -> tuple[dict[str, bool], int]:
    """Labels by study, and the number of repeated rows, from pairs of a row (``line``) and a study of its key."""
    rows = rows.assign(is_positive=rows.meta.str.strip().str.lower().map({"ja": True, "nein": False}))
    studies = pairs.drop_duplicates(["line", "study"])
    single = studies[studies.groupby("line").study.transform("size") == 1]
    known = single.merge(rows, on="line").dropna(subset=["is_positive"])
    groups = known.groupby("study")
    agreeing = groups.filter(lambda part: part.is_positive.nunique() == 1 and part.ward.nunique() == 1)
    labels = agreeing.groupby("study").is_positive.first() if len(agreeing) else pd.Series(dtype=bool)
    return {str(study): bool(value) for study, value in labels.items()}, len(agreeing) - len(labels)


def frames(examined: Sequence[Examined], text: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    table["line"] = table.index + 2
    exams = pd.DataFrame([item._asdict() for item in examined], columns=Examined._fields)
    return table, exams.rename(columns={"study_uid": "study"}).astype({"accession": str, "patient": str})


@settings(deadline=None, max_examples=150)
@given(EXAMS, ROWS, st.booleans())
def test_a_join_by_accession_is_that_of_pandas(
    folder: Path, exams: Sequence[Examined], rows: Rows, is_hashed: bool
) -> None:
    text = "accession,meta,ward\n" + "".join(f'"{number}",{label},{ward}\n' for number, _, label, ward in rows)
    plain = examined_set(*(item._replace(accession=item.accession or None) for item in exams))

    found = joined(folder, text, "accession", hashed(plain) if is_hashed else plain, ["ward"])

    table, run = frames(exams, text)
    pairs = table[table.accession != ""].merge(run, on="accession")[["line", "study"]]
    assert (labels_of(found), found.repeated) == by_hand(table, pairs)
    assert len(found.rows) + found.repeated + len(found.unjoined) == len(rows)
    assert found.labelled == sum(item.study_uid in labels_of(found) for item in exams)


@settings(deadline=None, max_examples=150)
@given(EXAMS, ROWS, st.integers(0, 14), st.booleans())
def test_a_join_by_patient_and_date_is_that_of_pandas(
    folder: Path, exams: Sequence[Examined], rows: Rows, span: int, is_hashed: bool
) -> None:
    lines = [f'"{patient}",{FIRST + timedelta(day):%d.%m.%Y},{label},{ward}\n' for patient, day, label, ward in rows]
    text = "patient_id,date,meta,ward\n" + "".join(lines)
    plain = examined_set(*(item._replace(patient=item.patient or None) for item in exams))

    found = joined(folder, text, f"patient+date:{span}", hashed(plain) if is_hashed else plain, ["ward"])

    table, run = frames(exams, text)
    table["date"] = pd.to_datetime(table["date"], format="%d.%m.%Y")
    pairs = table[table.patient_id != ""].merge(run, left_on="patient_id", right_on="patient")
    near = (pd.to_datetime(pairs.day) - pairs.date).abs() <= pd.Timedelta(days=span)
    assert (labels_of(found), found.repeated) == by_hand(table, pairs[near][["line", "study"]])
    assert len(found.rows) + found.repeated + len(found.unjoined) == len(rows)


@settings(deadline=None, max_examples=150)
@given(EXAMS, ROWS)
def test_a_join_by_study_is_that_of_pandas(folder: Path, exams: Sequence[Examined], rows: Rows) -> None:
    text = "study_uid,meta,ward\n" + "".join(
        f'"{number and f"1.{number}"}",{label},{ward}\n' for number, _, label, ward in rows
    )

    found = joined(folder, text, "study", examined_set(*exams), ["ward"])

    table, run = frames(exams, text)
    pairs = table[table.study_uid != ""].merge(run, left_on="study_uid", right_on="study")[["line", "study"]]
    assert (labels_of(found), found.repeated) == by_hand(table, pairs)
    assert len(found.rows) + found.repeated + len(found.unjoined) == len(rows)


def test_a_join_by_study_labels_every_examination_of_it(tmp_path: Path) -> None:
    run = examined_set(exam("1.1", "a"), exam("1.1", "b"), exam("1.2"))

    found = joined(tmp_path, "Study UID;meta\n1.1;ja\n1.2;nein\n1.2;nein\n9;ja\n", "study", run)

    assert labels_of(found) == {"1.1": True, "1.2": False}
    assert (found.labelled, found.examinations, found.positives, found.repeated) == (3, 3, 1, 1)
    assert causes_of(found) == {5: Cause.NO_PARTNER}


def test_every_cause_is_named(tmp_path: Path) -> None:
    run = examined_set(
        exam("1.1", "1"), exam("1.2", "2"), exam("1.3", "2"), exam("1.4", "4"), exam(None, "5"), exam("1.6", "006")
    )
    expected = {
        ("1", "ja"): None,
        ("", "ja"): Cause.NO_KEY,
        ("1", ""): Cause.NO_LABEL,
        ("1", "maybe"): Cause.UNKNOWN_LABEL,
        ("7", "ja"): Cause.NO_PARTNER,
        ("6", "ja"): Cause.NEARLY,
        ("2", "ja"): Cause.SEVERAL_STUDIES,
        ("5", "ja"): Cause.NO_STUDY_UID,
        ("4", "ja"): Cause.CONTRADICTION,
        ("4", "nein"): Cause.CONTRADICTION,
    }
    text = "accession,meta\n" + "".join(f"{number},{label}\n" for number, label in expected)

    found = joined(tmp_path, text, "accession", run)

    assert causes_of(found) == {line: cause for line, cause in enumerate(expected.values(), 2) if cause}
    assert labels_of(found) == {"1.1": True}
    assert found.causes[Cause.CONTRADICTION] == [10, 11]


def test_a_date_decides_among_the_studies_of_a_patient_and_is_never_guessed(tmp_path: Path) -> None:
    run = examined_set(exam("1.1", None, "P", 0), exam("1.2", None, "P", 20), exam("1.3", None, "Q", 0))
    text = "PatID;Datum;meta\nP;03.01.2020;ja\nP;11.01.2020;ja\nP;01.06.2020;ja\nQ;gestern;ja\nQ;01.01.2020;nein\n"

    found = joined(tmp_path, text, "patient+date:14", run)

    assert labels_of(found) == {"1.1": True, "1.3": False}
    assert causes_of(found) == {3: Cause.SEVERAL_STUDIES, 4: Cause.OTHER_DAY, 5: Cause.NO_DATE}


def test_one_patient_id_of_two_issuers_is_not_guessed(tmp_path: Path) -> None:
    run = examined_set(exam("1.1", None, "P")._replace(issuer="A"), exam("1.2", None, "P", 300)._replace(issuer="B"))

    found = joined(tmp_path, "patient_id,date,meta\nP,2020-01-01,ja\n", "patient+date", run)

    assert causes_of(found) == {2: Cause.SEVERAL_ISSUERS}


def test_key_columns_are_named_or_known_by_their_heading(tmp_path: Path) -> None:
    run = examined_set(exam("1.1", "7", "P"))

    assert labels_of(joined(tmp_path, "Auftrag,meta\n7,ja\n", "accession=auftrag", run)) == {"1.1": True}
    named = joined(tmp_path, "Nr,Tag,meta\nP,2020-01-02,ja\n", "patient=Nr+date=Tag:1", run)
    assert labels_of(named) == {"1.1": True}
    with pytest.raises(UsageError, match="no column for the accession: name it, --join accession=COLUMN"):
        joined(tmp_path, "Auftrag,meta\n7,ja\n", "accession", run)
    with pytest.raises(UsageError, match="several columns for the date"):
        joined(tmp_path, "patient,date,study date,meta\nP,1,2,ja\n", "patient+date", run)


@pytest.mark.parametrize(
    ("text", "columns", "days"),
    [
        ("study", (None,), 0),
        ("accession=Order No", ("Order No",), 0),
        ("patient+date", (None, None), 0),
        ("patient=ID+date:14", ("ID", None), 14),
        ("patient+date=Day of scan:3", (None, "Day of scan"), 3),
    ],
)
def test_joins_are_parsed(text: str, columns: tuple[str | None, ...], days: int) -> None:
    found = Join.parse(text)
    assert (found.columns, found.days) == (columns, days)


@pytest.mark.parametrize("text", ["", "patient", "study=", "patient+date:x", "uid", "patient+date:-1"])
def test_other_joins_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is none of study"):
        Join.parse(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (LabelOptions(label="meta"), "need --join"),
        (LabelOptions("study", positive=["ja"]), "go together"),
        (LabelOptions("study", positive=["ja"], negative=["JA"]), "both --positive and --negative"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: LabelOptions, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        options.table(Path("t.csv"))


def test_a_workbook_needs_a_join_and_a_label_file_of_our_own_needs_none() -> None:
    with pytest.raises(UsageError, match=r"how is t\.xlsx joined"):
        LabelOptions().table(Path("t.xlsx"))
    assert LabelOptions().table(Path("t.csv")) is None
    with pytest.raises(UsageError, match="--join needs --labels"):
        LabelOptions("study").table(None)
