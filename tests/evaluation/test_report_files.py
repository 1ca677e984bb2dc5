"""The files of a report."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score
from tests.end_to_end.tables import read_csv
from tests.evaluation.made import Exam, files_of, like_the_paper, write_labels, write_results

from bsbatch.errors import OutputError, UsageError
from bsbatch.evaluation import report_files as module
from bsbatch.evaluation.evaluate import evaluate
from bsbatch.evaluation.metrics_json import content_of
from bsbatch.evaluation.report_files import write_report
from bsbatch.evaluation.settings import DecisionSettings, EvaluationConfig, Resampling, Restriction

NAMES = ("roc", "confusion", "calibration", "scores", "precision_recall", "decision_curve")
FIGURES = {f"{name}.{kind}" for name in NAMES for kind in ("png", "svg")}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> EvaluationConfig:
    folder = tmp_path_factory.mktemp("evaluation")
    out, labels = files_of(folder, like_the_paper())
    return EvaluationConfig(out, labels, folder / "report", resampling=Resampling(100))


@pytest.fixture(scope="module")
def report(config: EvaluationConfig) -> Path:
    write_report(evaluate(config))
    return config.out


@pytest.fixture(scope="module")
def metrics(report: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
    return content


def small(folder: Path, name: str = "report", **options: Any) -> EvaluationConfig:
    exams = [Exam(str(place), place / 20, ("[bold]Camera", "Other")[place < 6]) for place in range(20)]
    rows = [{"study_uid": place, "label": int(place > 10)} for place in range(19)] + [{"study_uid": 77, "label": 1}]
    out, labels = write_results(folder / "out", exams), write_labels(folder / "labels.csv", rows)
    return EvaluationConfig(out, labels, folder / name, resampling=Resampling(20), **options)


def bytes_of(report: Path) -> dict[str, bytes]:
    return {str(path.relative_to(report)): path.read_bytes() for path in report.rglob("*") if path.is_file()}


def test_a_report_has_its_files_and_nothing_else(report: Path) -> None:
    names = {"metrics.json", "scores.parquet", "unmatched.csv"} | {f"figures/{name}" for name in FIGURES}
    assert set(bytes_of(report)) == names


def test_the_same_evaluation_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_report(evaluate(small(tmp_path, name)))
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")


def test_metrics_name_their_version_run_and_settings(metrics: dict[str, Any]) -> None:
    assert metrics["version"] == 1
    assert "not for clinical use" in metrics["notice"]
    assert (metrics["model_id"], metrics["config_hash"]) == ("feed", "c0ffee")
    settings = metrics["settings"]
    assert (settings["resamples"], settings["seed"], settings["resampling_unit"]) == (100, 0, "patient_id")
    assert (settings["prevalence"], settings["prevalence_source"]) == (pytest.approx(411 / 998, abs=1e-6), "sample")
    counts = metrics["counts"]
    assert [counts[name] for name in ("n", "positives", "negatives", "patients")] == [998, 411, 587, 800]


def test_each_metric_has_a_value_in_an_interval(metrics: dict[str, Any]) -> None:
    points = metrics["operating_points"]
    assert list(points) == ["threshold", "half", "youden", "sensitivity"]
    fits = {name: metrics["metrics"].pop(name) for name in ("calibration_slope", "calibration_intercept")}
    assert all(metric["low"] <= metric["value"] <= metric["high"] for metric in fits.values())
    blocks = [metrics["metrics"], *(point["metrics"] for point in points.values())]
    blocks += [{name: point["confusion"][name] for name in ("tpr", "tnr", "fpr", "fnr")} for point in points.values()]
    for block in blocks:
        for metric in block.values():
            assert set(metric) == {"value", "low", "high"}
            assert 0 <= metric["low"] <= metric["value"] <= metric["high"] <= 1
    assert points["threshold"] | {"rule": ""} == points["half"] | {"rule": ""}
    assert points["sensitivity"]["metrics"]["sensitivity"]["value"] >= 0.9


def test_auc_is_that_of_the_scores_that_are_written(report: Path, metrics: dict[str, Any]) -> None:
    scores = pq.read_table(report / "scores.parquet").to_pydict()
    auc = roc_auc_score(scores["label"], scores["p_metastasis"])
    assert metrics["metrics"]["auc"]["value"] == pytest.approx(auc, abs=1e-6)
    confusion = metrics["operating_points"]["threshold"]["confusion"]
    both = np.array(scores["label"]) & np.array(scores["predicted"])
    assert both.sum() == confusion["true_positives"]
    assert len(set(scores["patient"])) == 800


def test_subgroups_are_by_centre_manufacturer_and_lesion_load(metrics: dict[str, Any]) -> None:
    groups = metrics["subgroups"]
    assert {kind: list(names) for kind, names in groups.items()} == {
        "centre": ["A", "B", "C"],
        "manufacturer": ["Alpha", "Beta"],
        "lesions": ["1", "2 to 5", "6 to 20", "more than 20"],
    }
    assert sum(group["n"] for group in groups["centre"].values()) == 998
    assert {group["negatives"] for group in groups["lesions"].values()} == {587}
    assert "ppv" not in groups["lesions"]["1"]["metrics"]
    assert {"auc", "ppv", "f1"} <= set(groups["centre"]["A"]["metrics"])


def test_no_patient_id_leaves_the_label_file(report: Path) -> None:
    assert "patient_id" not in pq.read_schema(report / "scores.parquet").names
    assert "P799" not in (report / "metrics.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_one_column_wide_and_carry_the_notice(report: Path, name: str) -> None:
    with Image.open(report / "figures" / f"{name}.png") as image:
        assert image.width == 1050
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)
    words = (report / "figures" / f"{name}.svg").read_text(encoding="utf-8")
    assert words.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert 'width="336"' in words
    assert "Research use only, not for clinical use." in words
    assert "n = 998 examinations of 800 patients, 411 with metastasis." in words


def test_studies_without_a_partner_are_listed(tmp_path: Path) -> None:
    config = small(tmp_path)
    write_report(evaluate(config))
    assert [(row["kind"], row["study_uid"]) for row in read_csv(config.out / "unmatched.csv")] == [
        ("label_without_result", "77"),
        ("result_without_label", "19"),
    ]


def test_no_cell_of_the_list_is_a_formula(tmp_path: Path) -> None:
    config = small(tmp_path)
    with (tmp_path / "labels.csv").open("a", encoding="utf-8") as labels:
        labels.write("=cmd|' /C calc'!A0,1\n@x,0\n")
    write_report(evaluate(config))
    found = {row["study_uid"] for row in read_csv(config.out / "unmatched.csv")}
    assert {"'=cmd|' /C calc'!A0", "'@x"} <= found


def test_undefined_metrics_are_null_and_counted(tmp_path: Path) -> None:
    content = content_of(evaluate(small(tmp_path, decisions=DecisionSettings(threshold=1.0))))
    point = content["operating_points"]["threshold"]
    assert point["metrics"]["ppv"] == {"value": None, "low": None, "high": None}
    assert point["undefined_resamples"] == {"ppv": 20}
    assert content["subgroups"]["manufacturer"]["Other"]["metrics"]["auc"]["value"] is None
    json.dumps(content, allow_nan=False)


def test_a_stated_prevalence_is_stated(tmp_path: Path) -> None:
    content = content_of(evaluate(small(tmp_path, decisions=DecisionSettings(prevalence=0.05))))
    assert (content["settings"]["prevalence"], content["settings"]["prevalence_source"]) == (0.05, "--prevalence")
    point = content["operating_points"]["threshold"]
    se, sp = (point["metrics"][name]["value"] for name in ("sensitivity", "specificity"))
    assert point["metrics"]["ppv"]["value"] == pytest.approx(se * 0.05 / (se * 0.05 + (1 - sp) * 0.95), abs=1e-4)


def test_a_restriction_is_reported(config: EvaluationConfig) -> None:
    chosen = EvaluationConfig(
        config.results, config.labels, config.out, Restriction("test", "A"), resampling=Resampling(10)
    )
    content = content_of(evaluate(chosen))
    assert (content["settings"]["split"], content["settings"]["centre"]) == ("test", "A")
    assert content["counts"]["n"] + content["counts"]["unmatched"]["outside_restriction"] == 998


def test_a_report_may_not_lie_among_the_results(tmp_path: Path) -> None:
    config = small(tmp_path, "out/results")
    with pytest.raises(UsageError, match="choose another --out"):
        evaluate(config)


def test_a_folder_that_cannot_be_created_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "report").write_text("a file", encoding="utf-8")
    with pytest.raises(UsageError, match="Choose another --out"):
        write_report(evaluate(small(tmp_path)))


def test_a_report_that_was_not_finished_has_no_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small(tmp_path)
    write_report(evaluate(config))

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_replace", full)
    with pytest.raises(OutputError, match="No space left"):
        write_report(evaluate(config))
    assert not (config.out / "metrics.json").exists()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DecisionSettings(threshold=1.1), "--threshold"),
        (lambda: DecisionSettings(sensitivity=0.0), "--sensitivity"),
        (lambda: DecisionSettings(prevalence=1.0), "--prevalence"),
        (lambda: Resampling(resamples=0), "--resamples"),
        (lambda: Resampling(seed=-1), "--seed"),
    ],
)
def test_settings_out_of_range_are_usage_errors(make: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()
