"""Worklists: order, what they hold, and that they open in a spreadsheet as they should."""

import csv
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cohort.test_selecting import row

from bsbatch.cohort.settings import Join, LabelTable, Rank, Worklist
from bsbatch.cohort.worklist import VERDICTS, write_worklist
from bsbatch.errors import UsageError
from bsbatch.store.folder import OVERLAYS
from bsbatch.store.parts import write_part
from bsbatch.store.tables import RESULTS, to_table

SCORES = {1: 0.9, 2: 0.55, 3: 0.2, 4: 0.48, 5: 0.999999}


def run_of(folder: Path, scores: dict[int, float] = SCORES, **changes: Any) -> Path:
    """A run with scores by number of the examination, and an overlay of the first one."""
    rows = [
        row(number, p_metastasis=score, predicted=int(score >= 0.5), threshold=0.5, source_anterior=f"{number}.dcm")
        | changes
        for number, score in scores.items()
    ]
    (folder / RESULTS).mkdir(parents=True, exist_ok=True)
    write_part(folder / RESULTS, 0, to_table(RESULTS, rows, "c", is_identified="patient_id" in changes))
    (folder / OVERLAYS).mkdir(exist_ok=True)
    picture = np.full((700, 900, 3), 200, np.uint8)
    cv2.imwrite(str(folder / OVERLAYS / f"{1:032x}.png"), picture)
    return folder


def listed(folder: Path, **chosen: Any) -> list[dict[str, str]]:
    write_worklist(folder, folder / "w.csv", Worklist(**chosen))
    with (folder / "w.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def numbers(rows: list[dict[str, str]]) -> list[int]:
    return [int(item["exam_id"], 16) for item in rows]


def labels(folder: Path, **by_study: str) -> LabelTable:
    (folder / "l.csv").write_text("study uid,label\n" + "".join(f"1.{n[1:]},{v}\n" for n, v in by_study.items()))
    return LabelTable(folder / "l.csv", Join.parse("study"))


def test_positives_come_by_score_and_are_shown_without_certainty(tmp_path: Path) -> None:
    found = listed(run_of(tmp_path))

    assert numbers(found) == [5, 1, 2]
    assert [item["score"] for item in found] == [">0.999", "0.900", "0.550"]
    assert [item["rank"] for item in found] == ["1", "2", "3"]
    assert {item["verdict"] for item in found} == {""}
    assert numbers(listed(tmp_path, limit=2)) == [5, 1]


def test_the_most_uncertain_are_nearest_to_the_threshold(tmp_path: Path) -> None:
    assert numbers(listed(run_of(tmp_path), rank=Rank.UNCERTAINTY)) == [4, 2, 3, 1, 5]


def test_disagreements_are_those_that_labels_contradict_the_worst_first(tmp_path: Path) -> None:
    table = labels(run_of(tmp_path), s1="0", s2="0", s3="1", s4="0")

    found = listed(tmp_path, rank=Rank.DISAGREEMENT, labels=table)

    assert numbers(found) == [1, 3, 2]
    assert [item["label"] for item in found] == ["negative", "positive", "negative"]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=9))
def test_no_score_stands_above_a_higher_one(tmp_path_factory: pytest.TempPathFactory, scores: list[float]) -> None:
    folder = run_of(tmp_path_factory.mktemp("run"), {**dict(enumerate(scores)), 99: 1.0})

    found = numbers(listed(folder))

    by_number = {**dict(enumerate(scores)), 99: 1.0}
    assert [by_number[number] for number in found] == sorted((s for s in by_number.values() if s >= 0.5), reverse=True)


def test_identity_is_listed_only_if_the_run_has_it(tmp_path: Path) -> None:
    plain, named = listed(run_of(tmp_path / "a"))[0], listed(run_of(tmp_path / "b", patient_id="4711"))[0]

    assert "patient id" not in plain
    assert plain["study uid"] == "1.5"
    assert plain["acquisition date"] == "2020-01-06"
    assert named["patient id"] == "4711"


def test_a_workbook_has_thumbnails_choices_a_frozen_header_and_a_page_set_up(tmp_path: Path) -> None:
    run_of(tmp_path, manufacturer="=1+1", source_anterior="=cmd|' /C calc'!A0")

    assert write_worklist(tmp_path, tmp_path / "w.xlsx", Worklist()) == 3

    sheet = openpyxl.load_workbook(tmp_path / "w.xlsx")["worklist"]
    headings = [cell.value for cell in sheet[1]]
    assert headings[0] == "rank"
    assert headings[-5:] == ["verdict", "picture", "study uid", "path", "exam_id"]
    assert "tracer" not in headings  # no examination has one
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref == f"A1:{sheet.cell(1, len(headings)).column_letter}4"
    assert sheet.print_area.endswith("$4")
    assert (sheet.print_title_rows, sheet.page_setup.orientation, sheet.page_setup.fitToHeight) == (
        "$1:$1",
        "landscape",
        0,
    )
    (choice,) = sheet.data_validations.dataValidation
    assert choice.formula1 == f'"{",".join(VERDICTS)}"'
    assert len(sheet._images) == 1
    assert sheet._images[0].anchor._from.row == 2  # of the second examination by score
    assert sheet.row_dimensions[3].height > 100
    types = {cell.data_type for line in sheet.iter_rows() for cell in line}
    assert types == {"s", "n"}


def test_a_page_loads_nothing_and_escapes_what_comes_from_files(tmp_path: Path) -> None:
    run_of(tmp_path, source_anterior="<script>alert(1)</script>")

    write_worklist(tmp_path, tmp_path / "w.html", Worklist())

    page = (tmp_path / "w.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert page.count("data:image/jpeg;base64,") == 1
    assert "http" not in page
    assert "Research use only" in page


@pytest.mark.parametrize(
    ("name", "chosen", "message"),
    [
        ("w.txt", {}, "must end with .xlsx, .csv, .html"),
        ("results/part-000009.html", {}, "lies in a table"),
        ("w.csv", {"limit": 0}, "at least 1"),
        ("w.csv", {"rank": Rank.DISAGREEMENT}, "needs labels"),
    ],
)
def test_worklists_that_cannot_be_made_are_refused(
    tmp_path: Path, name: str, chosen: dict[str, Any], message: str
) -> None:
    run_of(tmp_path)

    with pytest.raises(UsageError, match=message):
        write_worklist(tmp_path, tmp_path / name, Worklist(**chosen))


def test_a_list_without_examinations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no examination belongs"):
        write_worklist(run_of(tmp_path, {1: 0.1}), tmp_path / "w.csv", Worklist())
