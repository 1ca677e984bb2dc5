"""``--join``: a hospital's tables beside a run, in evaluate, report, train and Python."""

import csv
import json
from pathlib import Path

import pandas as pd
import pytest
from tests.cohort.hospital import STUDIES, expected, run, write_archive, write_sheets
from tests.end_to_end.tables import bsbatch

from bsbatch.api.runs import open_results
from bsbatch.cohort.settings import Join, LabelTable
from bsbatch.errors import UsageError
from bsbatch_build.training.archive_labels import join_archive, read_training_labels

LABELS = ("--label", "Metastasen", "--positive", "ja", "--negative", "nein")
BY_ACCESSION = ("--join", "accession", "--sheet", "Befunde", *LABELS)
BY_DATE = ("--join", "patient+date:14", "--sheet", "Patienten", *LABELS)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the archive, the workbook, a run without identity and one with it."""
    folder = tmp_path_factory.mktemp("hospital")
    archive = write_archive(folder / "archive")
    write_sheets(folder / "labels.xlsx")
    run(archive, folder / "plain")
    run(archive, folder / "named", is_identified=True)
    return folder


@pytest.mark.parametrize("out", ["plain", "named"])
@pytest.mark.parametrize("options", [BY_ACCESSION, BY_DATE])
def test_a_dry_run_shows_the_join_and_writes_nothing(place: Path, out: str, options: tuple[str, ...]) -> None:
    before = sorted(place.rglob("*"))

    done = bsbatch("evaluate", place / out, "--labels", place / "labels.xlsx", *options, "--dry-run")

    assert done.returncode == 0, done.stderr
    words = " ".join(done.stdout.split())
    assert "5 studies with a label: 2 positive, 3 negative" in words
    assert "5 examinations with a label, of 6" in words
    assert ("1 not joined: no examination has its key (line 7)" in words) == (options == BY_ACCESSION)
    assert "ACC" not in words
    assert sorted(place.rglob("*")) == before


def test_evaluate_takes_a_workbook_and_forms_subgroups_by_its_columns(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"

    done = bsbatch(
        *("evaluate", place / "plain", "--labels", place / "labels.xlsx", *BY_ACCESSION),
        *("--by", "Primärtumor,PSA", "--out", out, "--resamples", "5"),
    )

    assert done.returncode == 0, done.stderr
    text = json.dumps(json.loads((out / "metrics.json").read_text()), ensure_ascii=False)
    assert '"n": 5, "positives": 2, "negatives": 3, "patients": 4' in text
    assert '"Prostata"' in text
    assert '"65 to 74"' in text  # the age of the results, which the table lacks
    with (out / "unmatched.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["reason"] for row in rows if row["kind"] == "label_not_joined"] == [
        "line 7: no examination has its key"
    ]
    assert sum(row["kind"] == "result_without_label" for row in rows) == 1


def test_report_evaluates_a_joined_table(place: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"

    done = bsbatch("report", place / "plain", "--labels", place / "labels.xlsx", *BY_DATE, "--out", page)

    assert done.returncode == 0, done.stderr
    assert "AUC" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "how is"),
        (("--join", "accession", *LABELS), "name one with --sheet"),
        (("--join", "accession", "--sheet", "Befunde"), "has no column 'label'"),
        (("--join", "study", "--sheet", "Befunde", *LABELS), "no column for the study"),
        (("--join", "accession=PSA", "--sheet", "Befunde", *LABELS), "no row of"),
    ],
)
def test_what_is_missing_for_a_join_is_said(place: Path, options: tuple[str, ...], message: str) -> None:
    done = bsbatch("evaluate", place / "plain", "--labels", place / "labels.xlsx", *options, "--out", place / "no")

    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())


def test_python_returns_results_beside_the_table_as_pandas_would(place: Path) -> None:
    run = open_results(place / "named")
    found = run.join(
        place / "labels.xlsx", label="Metastasen", positive=["ja"], negative=["nein"], sheet="Befunde"
    ).to_pandas()

    sheet = pd.read_excel(place / "labels.xlsx", "Befunde", dtype=str)
    results = run.results.to_pandas()
    by_hand = results.merge(sheet, left_on="accession_number", right_on="Accession Number")
    assert found["exam_id"].tolist() == by_hand["exam_id"].tolist()
    assert found["is_positive"].tolist() == (by_hand["Metastasen"] == "ja").tolist()
    assert found["PSA"].fillna(-1).tolist() == by_hand["PSA"].str.replace(",", ".").astype(float).fillna(-1).tolist()
    assert dict(zip(found["accession_number"], found["is_positive"], strict=True)) == expected()


def test_a_training_joins_with_the_headers_of_the_archive_and_keeps_patients_together(place: Path) -> None:
    table = LabelTable(
        place / "labels.xlsx", Join.parse("accession"), "Metastasen", ("ja",), ("nein",), sheet="Befunde"
    )

    file = read_training_labels(table.path, table, place / "archive")

    patients = [label.patient_id for label in file.labels.values()]
    assert [label.is_positive for label in file.labels.values()] == list(expected().values())
    assert patients[0] == patients[1]
    assert len(set(patients)) == len({study.patient for study in STUDIES if study.label})
    assert not any("P1" in str(label) for label in file.labels.values())
    assert join_archive(table, place / "archive").labelled == 5


def test_pseudonyms_can_be_joined_by_study_alone(place: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("0123456789abcdef")
    done = bsbatch(
        *("run", place / "archive", "--backend", "fake", "--out", tmp_path / "out", "--quiet"),
        *("--pseudonymise", tmp_path / "key"),
    )
    assert done.returncode == 0, done.stderr

    with pytest.raises(UsageError, match="join by study"):
        open_results(tmp_path / "out").join(
            place / "labels.xlsx", label="Metastasen", positive=["ja"], negative=["nein"], sheet="Befunde"
        )
