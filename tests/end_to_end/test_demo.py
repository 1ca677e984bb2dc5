"""The demo model, its published metrics, and ``bsbatch demo``."""

import json
import re
from pathlib import Path

import pytest
from tests.end_to_end.tables import bsbatch, bsbatch_process

from bsbatch.backends.requirements import REQUIREMENTS
from bsbatch.imaging.preprocess import VERSION
from bsbatch.models.directory import DEMO, Model

ROOT = Path(__file__).parents[2]
BACKEND = next(name for name in ("winograd", "mnn", "onnxruntime") if REQUIREMENTS[name].missing is None)
"""In place of ``auto``, whose measurement takes longer than the demo. The first two derive a file from the model."""


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.load(Path(DEMO), VERSION)


def test_the_model_is_the_whole_network_and_names_its_training_data(model: Model) -> None:
    training = model.manifest.training
    assert training["weights_count"] == 14_978_370
    assert training["width"] == 1.0
    assert "synthetic phantoms" in training["note"]
    assert "not for clinical use" in training["note"]
    assert training["commands"]


def test_the_published_figures_are_this_models_on_centre_c_and_those_of_the_documents(model: Model) -> None:
    metrics = json.loads((model.folder / "metrics.json").read_text(encoding="utf-8"))
    rates = metrics["operating_points"]["threshold"]["metrics"]
    assert metrics["model_id"] == model.model_id
    assert metrics["counts"]["n"] >= 998
    auc, words = metrics["metrics"]["auc"]["value"], _words_of("docs/models.md")
    assert f"| AUC | {auc:.3f} (" in words
    for name in ("sensitivity", "specificity"):
        assert f"| {name} at the threshold | {rates[name]['value']:.3f} (" in words
    assert f"its AUC is {auc:.3f}" in _words_of("README.md")


def _words_of(document: str) -> str:
    return " ".join((ROOT / document).read_text(encoding="utf-8").split())


def test_the_demo_separates_metastases_and_leaves_the_package_unchanged(model: Model, tmp_path: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in model.folder.iterdir()}
    # as in README: the folder of the results has the name of the model
    done = bsbatch_process("demo", "--studies", "16", "--out", "demo", "--backend", BACKEND, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("16 synthetic examinations: about 14 s on two idle cores.\n")
    assert re.search(r"\nDone in \d+ (s|min)\.\n$", done.stdout)
    assert "ROC AUC" in done.stdout
    assert "not for clinical use" in done.stdout

    assert "report   demo/run/report.html" in done.stdout
    assert "overlays demo/run/overlays" in done.stdout
    page = tmp_path / "demo" / "run" / "report.html"
    assert page.stat().st_size > 1_000_000
    assert list((tmp_path / "demo" / "run" / "overlays").glob("sheet-0001.*"))

    metrics = json.loads((tmp_path / "demo" / "report" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["counts"]["n"] == 16
    assert metrics["metrics"]["auc"]["value"] > 0.8
    assert (tmp_path / "demo" / "report" / "figures" / "roc.png").stat().st_size > 0
    assert {path.name: path.stat().st_mtime_ns for path in model.folder.iterdir()} == before


def test_the_demo_refuses_a_folder_with_files(tmp_path: Path) -> None:
    (tmp_path / "demo" / "set").mkdir(parents=True)
    (tmp_path / "demo" / "set" / "mine.txt").write_text("mine")
    done = bsbatch("demo", "--studies", "4", "--out", tmp_path / "demo")
    assert done.returncode == 2
    assert "--out FOLDER" in done.stderr
