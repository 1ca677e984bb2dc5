import json
import shutil
from pathlib import Path

import pytest
from tests.archives import PATIENT_NAME, uid
from tests.end_to_end.tables import objects, results
from tests.evaluation.made import Exam, write_results
from tests.html_report.reading import data_of, outline_of, pictures_of

from bsbatch.errors import ModelError, UsageError
from bsbatch.evaluation.evaluate import evaluate
from bsbatch.evaluation.settings import EvaluationConfig
from bsbatch.html_report.page import write_page
from bsbatch.html_report.settings import ReportConfig
from bsbatch.html_report.words import FLAGS, MAP_WARNINGS
from bsbatch.imaging.gradcam import CamWarning
from bsbatch.imaging.quality import Flag
from bsbatch.models.directory import DEMO
from bsbatch.store.parts import write_part
from bsbatch.store.tables import RESULTS, to_table

SECTIONS = {"flow", "scores", "examinations", "gallery", "warnings", "throughput", "model", "configuration"}
HOSTILE = "</script><img src=x onerror=alert(1)>&\"'"


@pytest.fixture(scope="module")
def page(screened: Path, labels: Path) -> Path:
    return write_page(ReportConfig(screened, labels=labels))


def test_every_section_is_there_and_says_research_use_only(page: Path) -> None:
    outline = outline_of(page)
    assert page.name == "report.html"
    assert outline.ids >= SECTIONS | {"evaluation"}
    assert outline.words.count("Research use only, not for clinical use") == 2


def test_every_examination_has_its_row_and_every_reason_its_count(page: Path, screened: Path) -> None:
    rows = {row["exam_id"]: row for row in results(screened)}
    shown = {row[0]: row for row in data_of(page)["examinations"]}
    assert shown.keys() == rows.keys()
    for exam_id, row in rows.items():
        assert shown[exam_id][1] == (
            None if row["p_metastasis"] is None else pytest.approx(row["p_metastasis"], abs=1e-4)
        )
        assert shown[exam_id][4] == row["reason"]
        assert shown[exam_id][7] == (row["qc_flags"] or [])
    words = outline_of(page).words
    reasons = [row["reason"] for row in objects(screened) if row["reason"]]
    assert len(set(reasons)) >= 4
    for reason in set(reasons):
        assert f"{reason} {reasons.count(reason)} " in words
    assert f"{len(objects(screened))} files seen" in words


def test_the_metrics_are_those_of_evaluate(page: Path, screened: Path, labels: Path, tmp_path: Path) -> None:
    evaluation = evaluate(EvaluationConfig(screened, labels, tmp_path))
    words = outline_of(page).words
    auc = evaluation.whole.auc
    assert f"ROC AUC {auc.value:.3f} {auc.low:.3f} to {auc.high:.3f}" in words
    confusion = evaluation.whole.points[0].confusion
    assert f"{confusion.true_positives} sensitivity" in words
    known = {case.examination.exam_id: int(case.label.is_positive) for case in evaluation.cohort.cases}
    assert {row[0]: row[3] for row in data_of(page)["examinations"] if row[3] is not None} == known
    layers = data_of(page, "charts")["scores"]["layer"]
    bars = [row for layer in layers if layer["mark"]["type"] == "bar" for row in layer["data"]["values"]]
    assert sum(item["examinations"] for item in bars if item["group"] == "Metastasis") == sum(known.values())


def test_an_evaluation_that_was_computed_already_gives_the_same_bytes(
    page: Path, screened: Path, labels: Path, tmp_path: Path
) -> None:
    evaluation = evaluate(EvaluationConfig(screened, labels, tmp_path))
    again = write_page(ReportConfig(screened / "results", labels=labels), evaluation)
    assert again.read_bytes() == page.read_bytes()


def test_nothing_is_loaded_and_no_patient_is_in_it(page: Path, screened: Path) -> None:
    text = page.read_text(encoding="utf-8")
    outline = outline_of(page)
    assert all(address.startswith(("#", "data:")) for address in outline.addresses)
    assert "default-src 'none'" in text
    secrets = [PATIENT_NAME, "SECRET", "19440229", str(screened.parent), uid("study", 1), "20200102"]
    secrets += [row["source"] for row in objects(screened)]
    secrets += [row["study_uid"] for row in results(screened)]
    assert not [secret for secret in secrets if secret in text]


def test_accession_and_date_are_in_the_page_of_a_run_that_wrote_them(tmp_path: Path) -> None:
    plain, identified = (write_results(tmp_path / name, [Exam("1", 0.7)]) for name in ("plain", "identified"))
    row = results(identified)[0] | {"accession_number": "ACC-7", "study_date": "20240229"}
    write_part(identified / RESULTS, 0, to_table(RESULTS, [row], "c0ffee", is_identified=True))

    shown, hidden = (write_page(ReportConfig(out)) for out in (identified, plain))
    assert data_of(shown)["examinations"][0][13:] == ["ACC-7", "2024-02-29"]
    assert "treat this page as a patient's record" in outline_of(shown).words
    assert data_of(hidden)["examinations"][0][13:] == ["", ""]
    assert "UIDs, dates and paths are not in this page" in outline_of(hidden).words


def test_wrong_decisions_come_first_among_the_pictures(page: Path) -> None:
    rows = {row[0]: row for row in data_of(page)["examinations"]}
    wrong = [rows[picture["exam_id"]][3] == 1 - rows[picture["exam_id"]][2] for picture in pictures_of(page)]
    assert 0 < sum(wrong) < len(wrong)
    assert wrong == sorted(wrong, reverse=True)


def test_text_from_a_header_is_escaped(tmp_path: Path) -> None:
    write_results(tmp_path, [Exam("1", 0.7, HOSTILE), Exam("2", 0.2, HOSTILE)])
    (tmp_path / "run.json").write_text(json.dumps({"status": "complete", "config": {"backend": HOSTILE}}))
    page = write_page(ReportConfig(tmp_path))
    assert "<img src=x" not in page.read_text(encoding="utf-8")
    assert data_of(page)["examinations"][0][5] == HOSTILE
    assert HOSTILE in outline_of(page).words


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("limited", "stopped at --limit"),
        ("interrupted", "was interrupted"),
        ("stopped", "stopped at an error"),
        ("running", "still at work, or was killed"),
    ],
)
def test_a_run_that_has_not_come_to_its_end_is_shown_under_a_warning(status: str, words: str, tmp_path: Path) -> None:
    write_results(tmp_path, [Exam("1", 0.7), Exam("2", None)])
    (tmp_path / "run.json").write_text(json.dumps({"status": status}))
    outline = outline_of(write_page(ReportConfig(tmp_path)))
    assert words in outline.words
    assert "1 scored" in outline.words


def test_a_run_on_a_cluster_names_its_workers_and_adds_up_their_seconds(tmp_path: Path) -> None:
    write_results(tmp_path, [Exam("1", 0.9, "Camera")])
    run = {"status": "complete", "stages": {"infer": {"seconds": 1.0, "items": 1, "items_per_second": 1.0}}}

    def words_with(**more: object) -> str:
        (tmp_path / "run.json").write_text(json.dumps(run | more))
        return outline_of(write_page(ReportConfig(tmp_path))).words

    assert "all threads added up" in (alone := words_with())
    assert "workers" not in alone
    words = words_with(cluster={"workers": 4, "lost": 1, "refused": 0, "again": 2, "dropped": 3})
    assert "all threads of driver and workers added up" in words
    assert "Ray cluster workers that took part 4 workers lost 1 workers refused 0 units done again 2" in words


def test_a_run_without_a_score_has_a_page(tmp_path: Path) -> None:
    write_results(tmp_path, [Exam("1", None), Exam(None, None)])
    outline = outline_of(write_page(ReportConfig(tmp_path)))
    assert "No examination has a score" in outline.words
    assert "run.json is missing" in outline.words
    assert "--cam positive" in outline.words


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run: give the --out folder"):
        write_page(ReportConfig(tmp_path))


def test_a_part_that_is_damaged_is_named(screened: Path, tmp_path: Path) -> None:
    shutil.copytree(screened, tmp_path / "out")
    part = next((tmp_path / "out/results").glob("part-*"))
    part.write_bytes(b"no parquet")
    with pytest.raises(UsageError, match=part.name):
        write_page(ReportConfig(tmp_path / "out"))


def test_every_picture_is_that_of_its_row(page: Path) -> None:
    pictures = pictures_of(page)
    rows = [row for row in data_of(page)["examinations"] if row[12] is not None]
    assert len(rows) == len(pictures) > 24
    assert [pictures[row[12]]["exam_id"] for row in rows] == [row[0] for row in rows]


def test_a_page_elsewhere_links_to_the_overlays_where_they_lie(screened: Path, tmp_path: Path) -> None:
    page = write_page(ReportConfig(screened, out=tmp_path / "a page.html", gallery=3))
    links = [row[11] for row in data_of(page)["examinations"] if row[11]]
    assert links
    assert all((page.parent / link).resolve().is_file() for link in links)
    assert len(pictures_of(page)) == 3
    with pytest.raises(UsageError, match="no folder"):
        write_page(ReportConfig(screened, out=tmp_path / "nowhere" / "page.html"))


def test_the_card_is_that_of_the_runs_own_model(screened: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the run was made with no model"):
        write_page(ReportConfig(screened, model=Path(DEMO)))
    write_results(tmp_path, [Exam("1", 0.7)])
    card = Path(__file__).parents[2] / "engine/bsbatch/models/demo/card.json"
    model_id = json.loads(card.read_text(encoding="utf-8"))["model"]["id"]
    (tmp_path / "run.json").write_text(json.dumps({"status": "complete", "model": {"model_id": model_id}}))
    assert "Out of scope" in outline_of(write_page(ReportConfig(tmp_path))).words


def test_masks_without_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--masks needs --labels"):
        ReportConfig(tmp_path, masks=tmp_path)
    with pytest.raises(UsageError, match="--gallery"):
        ReportConfig(tmp_path, gallery=-1)


def test_every_warning_has_an_explanation() -> None:
    assert set(FLAGS) == set(Flag)
    assert set(MAP_WARNINGS) == set(CamWarning)
