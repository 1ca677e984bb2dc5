"""``bsbatch evaluate`` over the results of a real run."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.archives import PATIENT_NAME, uid, write_mixed
from tests.end_to_end.tables import bsbatch, bsbatch_process, read_csv, results
from tests.evaluation.made import write_labels
from typer.testing import CliRunner

from bsbatch.cli import app

STUDIES = 40
UNLABELLED, UNKNOWN, TRUNCATED = uid("study", 7), "1.2.3.4", uid("study", 0)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate")
    write_mixed(folder / "archive", STUDIES)
    done = bsbatch("run", folder / "archive", "--backend", "fake", "--out", folder / "out", "--max-error-rate", "1")
    assert done.returncode == 0, done.stderr
    return folder / "out"


@pytest.fixture(scope="module")
def labels(out: Path) -> Path:
    """Positive where the score is above the median, wrong for every seventh; one study has none, one is unknown."""
    rows: list[dict[str, object]] = []
    scored = {row["study_uid"]: row["p_metastasis"] for row in results(out) if row["p_metastasis"] is not None}
    middle = sorted(scored.values())[len(scored) // 2]
    for number in range(STUDIES):
        study = uid("study", number)
        positive = (scored.get(study, 0.0) >= middle) != (number % 7 == 0)
        split, lesions = ("train", "test")[number % 2], number if positive else 0
        rows.append({"study_uid": study, "label": int(positive), "centre": "AB"[number % 3 == 0], "split": split})
        rows[-1] |= {"lesions": lesions, "patient_id": f"SECRET-{number // 2}"}
    rows = [row for row in rows if row["study_uid"] != UNLABELLED]
    rows += [rows[5], rows[1] | {"study_uid": UNKNOWN}]
    return write_labels(out.parent / "labels.csv", rows)


@pytest.fixture(scope="module")
def evaluated(out: Path, labels: Path) -> "subprocess.CompletedProcess[str]":
    arguments = ("evaluate", out, "--labels", labels, "--out", out.parent / "report")
    return bsbatch_process(*arguments, env={"COLUMNS": "80", "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)})


def test_every_examination_is_evaluated_or_listed(out: Path, evaluated: "subprocess.CompletedProcess[str]") -> None:
    assert evaluated.returncode == 0, evaluated.stderr
    report = out.parent / "report"
    metrics = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
    scores = pq.read_table(report / "scores.parquet").to_pylist()
    unmatched = read_csv(report / "unmatched.csv")
    listed = {row["exam_id"] for row in unmatched} - {""}
    assert {row["exam_id"] for row in scores} | listed == {row["exam_id"] for row in results(out)}
    assert len(scores) + len(listed) == len(results(out))
    kinds = {(row["kind"], row["study_uid"]): row["reason"] for row in unmatched}
    assert kinds["label_without_result", UNKNOWN] == ""
    assert kinds["result_without_label", UNLABELLED] == ""
    assert kinds["not_scored", TRUNCATED] == "truncated_pixel_data"
    assert metrics["counts"]["n"] == len(scores)
    assert sum(metrics["counts"]["unmatched"].values()) == len(unmatched)
    assert metrics["counts"]["repeated_label_rows"] == 1
    assert metrics["run_status"] == "complete"
    assert {row["model_id"] for row in results(out)} == {metrics["model_id"]}
    assert {row["config_hash"] for row in results(out)} == {metrics["config_hash"]}


def test_the_tables_fit_into_80_columns(evaluated: "subprocess.CompletedProcess[str]") -> None:
    lines = evaluated.stdout.splitlines()
    assert max(len(line) for line in lines if not line.startswith("Report: ")) <= 80
    assert "…" not in evaluated.stdout
    for words in (
        "ROC AUC",
        "Sensitivity at 0.5",
        "Youden",
        "net benefit",
        "Calibration slope",
        "B -> A",
        "centre A",
        "lesions",
        "Research use only",
    ):
        assert words in evaluated.stdout
    text = " ".join(evaluated.stdout.split())
    assert "1 labelled studies without an examination in the results" in text
    assert "1 examinations without a label" in text
    assert "1 label rows repeat an earlier one" in text
    assert "failed and have no score" in text


def test_no_patient_is_named(out: Path, evaluated: "subprocess.CompletedProcess[str]") -> None:
    text = evaluated.stdout + evaluated.stderr
    for path in (out.parent / "report").glob("*.*"):
        text += path.read_bytes().decode("latin-1")
    assert PATIENT_NAME not in text
    assert "SECRET" not in text


def test_a_report_can_be_made_again_to_the_byte_from_the_results_folder(
    out: Path, labels: Path, evaluated: "subprocess.CompletedProcess[str]", tmp_path: Path
) -> None:
    again = bsbatch("evaluate", out / "results", "--labels", labels, "--out", tmp_path, "--quiet")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    first = out.parent / "report"
    for path in first.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / path.relative_to(first)).read_bytes(), path.name


def test_options_reach_the_report(out: Path, labels: Path, tmp_path: Path) -> None:
    options = {"split": "test", "threshold": 0.7, "sensitivity": 0.8, "prevalence": 0.1, "resamples": 100, "seed": 9}
    options["width"] = 0.2
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    done = CliRunner().invoke(app, ["evaluate", str(out), "--labels", str(labels), "--out", str(tmp_path), *words])
    assert done.exit_code == 0, done.output
    metrics = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["operating_points"]["threshold"]["threshold"] == options.pop("threshold")
    assert metrics["planning"]["wanted_width"] == options.pop("width")
    assert {name: metrics["settings"][name] for name in options} == options
    assert "left out by --split or --centre" in " ".join(done.stdout.split())


def test_subgroups_and_another_run_are_compared(out: Path, labels: Path, tmp_path: Path) -> None:
    arguments = ["--by", "split", "--compare", str(out), "--resamples", "20", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, ["evaluate", str(out), "--labels", str(labels), *arguments], env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    metrics = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert set(metrics["subgroups"]["split"]) == {"train", "test"}
    assert [(item["kind"], item["group"]) for item in metrics["fairness"]] == [("split", "train")]
    assert metrics["comparison"]["auc"]["difference"] == {"value": 0, "low": 0, "high": 0}
    assert metrics["comparison"]["auc"]["p_value"] is None
    assert metrics["comparison"]["right_by_one_alone"]["all"] == {"first": 0, "second": 0, "p_value": 1.0}
    assert "ROC AUC (DeLong)" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines() if not line.startswith("Report: ")) <= 80


def test_labels_without_patients_are_reported(out: Path, tmp_path: Path) -> None:
    rows = [{"study_uid": uid("study", number), "label": number % 2} for number in range(STUDIES)]
    labels = write_labels(tmp_path / "labels.csv", rows)
    arguments = ["evaluate", out, "--labels", labels, "--out", tmp_path / "report", "--resamples", 20]
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert "each study counts as a patient of its own" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("study_uid,label\n1,0\n2,1\n1,1\n", "contradict each other"),
        ("study_uid,label\n1,0\n2,1\n", "do the labels belong to this run?"),
    ],
)
def test_labels_that_cannot_be_used_end_with_one_message(out: Path, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    done = bsbatch("evaluate", out, "--labels", tmp_path / "labels.csv", "--out", tmp_path / "report")
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("package", ["sklearn", "vl_convert"])
def test_a_missing_package_answers_with_its_install_line(out: Path, labels: Path, tmp_path: Path, package: str) -> None:
    script = f"import sys; sys.modules[{package!r}] = None; from bsbatch.cli import main; main()"
    places = (str(place) for place in (out, "--labels", labels, "--out", tmp_path / "report"))
    command = [sys.executable, "-c", script, "evaluate", *places]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f'{package} is not installed: pip install "bsbatch[evaluate]"' in done.stderr
