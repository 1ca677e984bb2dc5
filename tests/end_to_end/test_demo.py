"""The model that comes with bsbatch reaches the paper's figures, and ``bsbatch demo`` shows it at work."""

import json
from pathlib import Path

import pytest
from tests.end_to_end.tables import bsbatch

from bsbatch.model import DEMO, Model
from bsbatch.preprocess import VERSION

PAPER = {"auc": 0.897, "sensitivity": 0.822, "specificity": 0.8045}
"""On its external set of 998 examinations (Ibrahim et al. 2023)."""


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.load(Path(DEMO), VERSION)


def test_the_model_is_the_whole_network_and_says_what_it_was_trained_on(model: Model) -> None:
    training = model.manifest.training
    assert training["weights_count"] == 14_978_370
    assert training["width"] == 1.0
    assert "synthetic phantoms" in training["note"]
    assert "not for clinical use" in training["note"]
    assert training["commands"]


def test_the_published_figures_are_this_models_and_not_below_the_papers(model: Model) -> None:
    metrics = json.loads((model.folder / "metrics.json").read_text(encoding="utf-8"))
    reached = {**metrics["metrics"], **metrics["operating_points"]["half"]["metrics"]}
    assert metrics["model_id"] == model.model_id
    assert metrics["counts"]["n"] >= 998
    assert all(reached[name]["value"] >= least for name, least in PAPER.items())


def test_the_demo_tells_metastases_from_their_like_and_leaves_the_package_alone(model: Model, tmp_path: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in model.folder.iterdir()}
    done = bsbatch("demo", "--studies", "24", "--out", tmp_path / "demo")
    assert done.returncode == 0, done.stderr
    assert "ROC AUC" in done.stdout
    assert "not for clinical use" in done.stdout

    metrics = json.loads((tmp_path / "demo" / "report" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["counts"]["n"] == 24
    assert metrics["metrics"]["auc"]["value"] > 0.8
    assert (tmp_path / "demo" / "report" / "figures" / "roc.png").stat().st_size > 0
    assert {path.name: path.stat().st_mtime_ns for path in model.folder.iterdir()} == before


def test_the_demo_refuses_a_folder_that_is_in_use(tmp_path: Path) -> None:
    (tmp_path / "demo" / "set").mkdir(parents=True)
    (tmp_path / "demo" / "set" / "mine.txt").write_text("mine")
    done = bsbatch("demo", "--studies", "4", "--out", tmp_path / "demo")
    assert done.returncode == 2
    assert "--out FOLDER" in done.stderr
