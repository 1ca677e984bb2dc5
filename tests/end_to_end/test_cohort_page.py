"""The section "From an export to a cohort" of docs/cohort.md, run as it stands over an export of a hospital."""

import re
import shlex
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.cohort.export import Export, write_export
from tests.dicom.headers.canary import BIRTH, CANARY, lines_with_canary
from tests.end_to_end.tables import bsbatch, objects, results

from bsbatch.cli.exits import DONE, TOO_MANY_FAILED

PAGE = Path(__file__).parents[2] / "docs" / "cohort.md"
WRITTEN = ("OUT", "REPORT", "BOARD", "COHORT", "cohort.xlsx", "worklist.xlsx", "worklist.html")


def commands() -> Iterator[list[str]]:
    """The commands of the section."""
    section = PAGE.read_text(encoding="utf-8").split("\n## From an export to a cohort\n")[1].split("\n## ")[0]
    for block in re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL):
        yield from map(shlex.split, block.replace("\\\n", " ").splitlines())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Export, list[str]]:
    """Folder of the export after all commands, what is known of the export, and what the commands printed."""
    folder = tmp_path_factory.mktemp("hospital")
    export, printed = write_export(folder), []
    for program, *arguments in commands():
        assert program == "bsbatch"
        done = bsbatch(*arguments, cwd=folder)
        assert done.returncode in ({DONE, TOO_MANY_FAILED} if arguments[0] == "run" else {DONE}), done.stderr
        printed.append(" ".join((done.stdout + done.stderr).split()))
    return folder, export, printed


def test_every_usable_examination_has_a_score_and_the_sheets_label_those_that_they_name(
    place: tuple[Path, Export, list[str]],
) -> None:
    folder, export, printed = place
    positives = sum(study.is_positive for study in export.labelled)

    scored = [row for row in results(folder / "OUT") if row["status"] == "ok"]
    assert len(scored) == export.examinations
    assert {row["patient_sex"] for row in scored} <= {"M", "F"}
    assert f"{len(export.labelled)} studies with a label: {positives} positive" in printed[2]
    for report in ("REPORT", "BOARD"):
        scores = pq.read_table(folder / report / "scores.parquet", columns=["study_uid", "label"]).to_pylist()
        assert {row["study_uid"]: row["label"] for row in scores} == {
            study.uid: study.is_positive for study in export.labelled
        }
        assert len(scores) == len(export.labelled) + 1  # the repeat
    assert "Primärtumor" in (folder / "REPORT" / "metrics.json").read_text(encoding="utf-8")


def test_the_cohort_has_one_study_of_each_patient_and_the_others_are_not_selected(
    place: tuple[Path, Export, list[str]],
) -> None:
    folder, export, _ = place
    scored = [row for row in results(folder / "COHORT") if row["status"] == "ok"]
    earlier = {row["exam_id"]: row["p_metastasis"] for row in results(folder / "OUT")}

    assert len({row["study_uid"] for row in scored}) == export.patients
    assert all(row["p_metastasis"] == pytest.approx(earlier[row["exam_id"]], abs=1e-4) for row in scored)
    assert "not_selected" in {row["reason"] for row in objects(folder / "COHORT")}
    assert (folder / "COHORT" / "report.html").is_file()


def test_nothing_that_was_written_or_printed_names_a_patient(place: tuple[Path, Export, list[str]]) -> None:
    """Workbooks are read as their parts: they are compressed."""
    folder, _, printed = place
    assert any(lines_with_canary(folder / "EXPORT"))

    for name in WRITTEN:
        path = folder / name
        assert not list(lines_with_canary(path)) if path.is_dir() else path.is_file()
    for path in map(folder.joinpath, WRITTEN[-3:]):
        parts = zipfile.ZipFile(path) if path.suffix == ".xlsx" else None
        contents = [path.read_bytes()] if parts is None else [parts.read(part) for part in parts.namelist()]
        assert not any(word.encode() in content.upper() for content in contents for word in (CANARY, BIRTH))
    assert not any(CANARY in text or BIRTH in text for text in printed)


def test_the_worklist_shows_the_labels_of_the_sheet(place: tuple[Path, Export, list[str]]) -> None:
    folder = place[0]
    page = (folder / "worklist.html").read_text(encoding="utf-8")

    assert '<th class="">label</th>' in page
    assert page.count("<img") == sum(row["predicted"] == 1 for row in results(folder / "COHORT"))
