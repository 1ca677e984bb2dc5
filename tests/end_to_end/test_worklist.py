"""``bsbatch worklist``, and the same from Python."""

import csv
from pathlib import Path

import pytest
from tests.cohort.hospital import run, write_archive, write_sheets
from tests.end_to_end.tables import bsbatch, results

from bsbatch.api.runs import open_results
from bsbatch.errors import UsageError

LABELS = (
    "--join",
    "accession",
    "--sheet",
    "Befunde",
    "--label",
    "Metastasen",
    "--positive",
    "ja",
    "--negative",
    "nein",
)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("is_identified", [False, True])
def test_a_worklist_names_patients_only_if_the_run_does(tmp_path: Path, is_identified: bool) -> None:
    run(write_archive(tmp_path / "archive"), tmp_path / "out", is_identified=is_identified)

    for name in ("w.csv", "w.xlsx", "w.html"):
        done = bsbatch("worklist", tmp_path / "out", "--to", tmp_path / name, "--rank", "uncertainty")
        assert done.returncode == 0, done.stderr
        assert "6 examinations" in done.stdout

    assert ("ACC-" in (tmp_path / "w.html").read_text()) == is_identified
    assert {item.get("patient id") for item in rows_of(tmp_path / "w.csv")} == (
        {"P1", "P2", "P3", "P4", "P5"} if is_identified else {None}
    )
    assert open_results(tmp_path / "out").worklist(tmp_path / "again.csv", rank="uncertainty") == 6
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "w.csv").read_bytes()


def test_disagreements_are_those_between_results_and_the_joined_table(tmp_path: Path) -> None:
    run(write_archive(tmp_path / "archive"), tmp_path / "out", is_identified=True)
    sheets = write_sheets(tmp_path / "labels.xlsx")

    done = bsbatch(
        *("worklist", tmp_path / "out", "--to", tmp_path / "w.csv", "--rank", "disagreement"),
        *("--labels", sheets, *LABELS),
    )

    assert done.returncode == 0, done.stderr
    found = rows_of(tmp_path / "w.csv")
    predicted = {row["exam_id"]: ("negative", "positive")[row["predicted"]] for row in results(tmp_path / "out")}
    assert all(predicted[item["exam_id"]] == item["predicted"] != item["label"] for item in found)


def test_what_a_worklist_needs_is_said(tmp_path: Path) -> None:
    run(write_archive(tmp_path / "archive"), tmp_path / "out")

    for options, message in (
        (("--rank", "disagreement"), "needs labels"),
        (("--labels", tmp_path / "l.csv"), "--labels needs --join"),
        (("--rank", "beauty"), "beauty"),
    ):
        done = bsbatch("worklist", tmp_path / "out", "--to", tmp_path / "w.csv", *options)
        assert done.returncode == 2
        assert message in " ".join(done.stderr.split())
    with pytest.raises(UsageError, match="none of"):
        open_results(tmp_path / "out").worklist(tmp_path / "w.csv", rank="beauty")
