"""A model that is fitted knows scans unlike its training data, gives probabilities, and decides as before."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnxruntime import InferenceSession
from sklearn.covariance import LedoitWolf
from tests.end_to_end.tables import bsbatch, results
from typer.testing import CliRunner

from bsbatch.errors import UsageError
from bsbatch.imaging.preprocess import VERSION
from bsbatch.models.directory import GRAPH, MANIFEST, Model
from bsbatch_build.cli import app
from bsbatch_build.export import fit as fitting
from bsbatch_build.export.features import read_scores
from bsbatch_build.export.fit import distances_of, estimate_moments
from bsbatch_build.phantom.archive import write_set
from bsbatch_build.phantom.plan import SetPlan
from bsbatch_build.training.dataset import Dataset, open_dataset

STUDIES = 24


@pytest.fixture(scope="module", autouse=True)
def few() -> object:
    """Half of the studies suffice for a twin."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "_FEWEST", STUDIES // 3)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms of centres A and B."""
    folder = tmp_path_factory.mktemp("fit") / "set"
    write_set(folder, SetPlan(STUDIES, 5, ("A", "B"), clutter=False))
    return folder


@pytest.fixture(scope="module")
def data(folder: Path) -> Dataset:
    return open_dataset(folder / "archive", folder / "cache")


@pytest.fixture(scope="module")
def outputs(twin: Path, data: Dataset) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features and logits of the twin."""
    features, scores = read_scores(onnx.load(twin / GRAPH), data.images)
    return features, scores[:, 1] - scores[:, 0]


@pytest.fixture(scope="module")
def labels(folder: Path, data: Dataset, outputs: tuple[NDArray[np.float32], NDArray[np.float32]]) -> Path:
    """Labels that the scores of random weights follow, with errors in both classes."""
    ranks = np.argsort(np.argsort(outputs[1]))
    path = folder / "made.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["study_uid", "label", "centre"])
        for exam, rank in zip(data.exams, ranks, strict=True):
            writer.writerow([exam.study_uid, int((rank >= STUDIES // 2) ^ (rank % 5 == 0)), "A"])
    return path


@pytest.fixture(scope="module")
def fitted(twin: Path, folder: Path, labels: Path) -> Path:
    out = folder.parent / "fitted"
    options = "--archive", folder / "archive", "--labels", labels, "--cache", folder / "cache", "--fresh", "--calibrate"
    done = CliRunner().invoke(app, ["export", *map(str, (out, "--model", twin, "--made-by", "a test", *options))])
    assert done.exit_code == 0, done.output
    assert "calibrated on 24: slope" in done.output
    assert "moments of 12, limit of 12" in done.output
    return out


def test_features_and_logits_are_those_of_onnx_runtime(
    twin: Path, data: Dataset, outputs: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> None:
    session = InferenceSession(twin / GRAPH, providers=["CPUExecutionProvider"])
    images = np.asarray(data.images[:3], np.float32)[:, np.newaxis]
    pairs, distances = session.run(["probabilities", "distance"], {"image": images})

    np.testing.assert_allclose(outputs[1][:3], np.log(pairs[:, 1] / pairs[:, 0]), atol=1e-4)
    expected = np.sum((100 * np.log1p(outputs[0][:3])) ** 2, axis=1)  # the twin's, see `tests.graphs.give_distance`
    np.testing.assert_allclose(distances, expected, rtol=1e-3)


def test_the_distance_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    features = np.maximum(random.normal(0, 1, (50, 8)) @ random.normal(0, 1, (8, 8)), 0).astype(np.float32)
    features[:, 3] = 0  # a channel that never answers

    moments, shrinkage = estimate_moments(features)

    expected = LedoitWolf().fit(np.log(features.astype(np.float64) + moments.offset))
    assert shrinkage == expected.shrinkage_
    wanted = expected.mahalanobis(np.log(features.astype(np.float64) + moments.offset))
    np.testing.assert_allclose(distances_of(features, moments), wanted, rtol=1e-3)


def test_the_order_of_scores_and_every_decision_stay(twin: Path, fitted: Path, data: Dataset) -> None:
    images = np.asarray(data.images, np.float32)[:, np.newaxis]
    models = [Model.load(path, VERSION) for path in (twin, fitted)]
    before, after = (
        InferenceSession(model.graph, providers=["CPUExecutionProvider"]).run(["probabilities"], {"image": images})[0]
        for model in models
    )

    assert np.array_equal(np.argsort(after[:, 1]), np.argsort(before[:, 1]))
    decisions = [pairs[:, 1] >= model.manifest.threshold for pairs, model in zip((before, after), models, strict=True)]
    assert np.array_equal(*decisions)
    assert models[1].manifest.is_calibrated
    assert models[1].manifest.threshold != models[0].manifest.threshold


def test_the_manifest_records_data_and_command(fitted: Path) -> None:
    manifest = Model.load(fitted, VERSION).manifest

    assert manifest.training["commands"][-1] == "a test"
    assert manifest.statistics["studies"]["train A"].keys() == {"positive", "negative"}
    assert (manifest.statistics["examinations"], manifest.statistics["validation"]) == (12, 12)
    assert manifest.calibration["examinations"] == STUDIES


def test_a_fitted_model_is_fitted_again_from_the_start(
    fitted: Path, folder: Path, labels: Path, tmp_path: Path
) -> None:
    options = "--archive", folder / "archive", "--labels", labels, "--cache", folder / "cache", "--fresh", "--calibrate"
    done = CliRunner().invoke(app, ["export", *map(str, (tmp_path / "again", "--model", fitted, *options))])
    assert done.exit_code == 0, done.output

    first, second = (Model.load(path, VERSION).manifest for path in (fitted, tmp_path / "again"))
    assert second.distance_limit == pytest.approx(first.distance_limit, rel=1e-4)
    assert second.calibration["slope"] == pytest.approx(first.calibration["slope"], rel=1e-3)
    assert second.threshold == pytest.approx(first.threshold, abs=1e-4)


def test_a_run_flags_what_lies_beyond_the_limit_and_says_so(fitted: Path, folder: Path, tmp_path: Path) -> None:
    strict = shutil.copytree(fitted, tmp_path / "strict")
    manifest = json.loads((strict / MANIFEST).read_text(encoding="utf-8"))
    (strict / MANIFEST).write_text(json.dumps(manifest | {"distance_limit": 1e-3}), encoding="utf-8")
    options = "--backend", "onnxruntime", "--limit", "4", "--max-error-rate", "1"

    lax = bsbatch("run", folder / "archive", "--model", fitted, "--out", tmp_path / "lax", *options)
    done = bsbatch("run", folder / "archive", "--model", strict, "--out", tmp_path / "out", *options)

    assert "4 of 4 scored examinations are unlike everything" in " ".join(done.stderr.split())
    rows = results(tmp_path / "out")
    assert all("unlike_training" in row["qc_flags"] for row in rows)
    assert [row["distance"] for row in rows] == [row["distance"] for row in results(tmp_path / "lax")]
    assert lax.returncode == done.returncode == 0
    other = bsbatch("run", folder / "archive", "--model", strict, "--out", tmp_path / "lax", *options)
    assert "distance limit of --model was" in " ".join(other.stderr.split())


@pytest.mark.parametrize("options", [["--calibrate"], ["--fresh"], ["--labels", "x.csv"]])
def test_options_of_a_fit_without_its_data_are_refused(options: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["export", str(tmp_path / "out"), "--width", "0.0625", *options])
    assert isinstance(done.exception, Exception)
    assert not (tmp_path / "out").exists()


def test_too_few_examinations_are_refused(twin: Path, folder: Path, labels: Path, tmp_path: Path) -> None:
    options = (
        "--archive",
        folder / "archive",
        "--labels",
        labels,
        "--cache",
        folder / "cache",
    )  # of the split: 3 validate
    with pytest.raises(UsageError, match="21 examinations to train and 3 to validate"):
        CliRunner().invoke(
            app, ["export", *map(str, (tmp_path / "out", "--model", twin, *options))], catch_exceptions=False
        )
    assert not (tmp_path / "out").exists()
