"""Backends compared with Keras: a backend that differs fails, and the command names it."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from tests.backends.replacing import use_backend
from tests.build_tools.graphs import store_as_float16, with_graph
from typer.testing import CliRunner

from bsbatch.backends.onnxruntime import OnnxRuntimeBackend
from bsbatch.backends.registry import BackendFactory
from bsbatch.backends.requirements import REQUIREMENTS, usable_backends
from bsbatch.errors import MissingPackageError, ModelError, UsageError
from bsbatch.protocols import Images
from bsbatch.records import Inference
from bsbatch.requirements import Requirement
from bsbatch_build.checks.verify import BackendDifference, Reference, VerifySettings, auc, compare_outputs, verify
from bsbatch_build.cli import app

Put = Callable[[str, BackendFactory], None]
FEW = 4
INSTALLED = usable_backends()


def columns(*scores: float) -> NDArray[np.float32]:
    """``(N, 2)`` probabilities of scores."""
    positive = np.asarray(scores, np.float32)
    return np.stack([1 - positive, positive], axis=1)


def compare(expected: NDArray[np.float32], actual: NDArray[np.float32], precision: str = "fp32") -> BackendDifference:
    labels = np.arange(len(expected)) % 2 == 1
    return compare_outputs(Reference(expected, labels, 0.5), "some", precision, Inference(actual))


class Brighter(OnnxRuntimeBackend):
    """A backend that changes its images first."""

    def infer(self, images: Images) -> Inference:
        return super().infer(np.sqrt(images))


class Half(OnnxRuntimeBackend):
    """A backend of half precision: its probabilities are rounded to float16."""

    precision = "fp16"

    def infer(self, images: Images) -> Inference:
        given = super().infer(images).probabilities
        return Inference(given.astype(np.float16).astype(np.float32))


class Refusing(OnnxRuntimeBackend):
    """A backend that refuses the model."""

    def __enter__(self) -> Self:
        raise ModelError("its converter makes nothing of it")


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Put:
    """Register a backend of this file."""

    return partial(use_backend, monkeypatch)


def run(*arguments: object) -> Any:
    return CliRunner(env={"COLUMNS": "80"}).invoke(app, ["verify", *map(str, arguments)])


def test_every_installed_backend_agrees_with_the_twin(twin: Path) -> None:
    report = verify(VerifySettings(twin, FEW))
    assert [backend.backend for backend in report.backends] == INSTALLED
    assert all(0 <= backend.mean_difference <= backend.difference <= backend.tolerance for backend in report.backends)
    report.check()


def test_a_backend_of_half_precision_has_a_tolerance_of_its_own(twin: Path, put: Put) -> None:
    put("half", Half)
    (backend,) = verify(VerifySettings(twin, FEW, backends=("half",))).backends
    assert (backend.precision, backend.tolerance) == ("fp16", 5e-3)
    assert 1e-5 < backend.difference < 5e-3
    assert backend.is_within_tolerance


def test_every_step_of_every_examination_calls_back_once(twin: Path) -> None:
    activities: list[str] = []
    settings = VerifySettings(twin, FEW, backends=("onnxruntime",))
    verify(settings, activities.append)
    assert activities == ["phantoms"] * FEW + ["Keras"] * FEW + ["onnxruntime"] * FEW
    assert len(activities) == settings.steps


def test_a_model_whose_weights_are_float16_agrees_at_full_precision(twin: Path, tmp_path: Path) -> None:
    """The graph computes with the rounded weights in fp32, and so does the Keras network made of them."""
    folder = with_graph(twin, tmp_path / "half", store_as_float16)
    (backend,) = verify(VerifySettings(folder, FEW, backends=("onnxruntime",))).backends
    assert backend.is_within_tolerance
    assert backend.tolerance == 1e-5


def test_a_graph_that_computes_something_else_with_its_weights_is_refused(twin: Path, tmp_path: Path) -> None:
    def skip_a_relu(graph: Any) -> None:
        relu = next(node for node in graph.node if node.name == "block3_conv2/Relu")
        relu.op_type = "Identity"

    report = verify(VerifySettings(with_graph(twin, tmp_path / "other", skip_a_relu), FEW))
    assert report.not_for == (("winograd",) if REQUIREMENTS["winograd"].missing is None else ())
    with pytest.raises(ModelError, match=r"onnxruntime differs by .* and flips \d labels"):
        report.check()


def test_a_requested_backend_for_graphs_of_another_kind_refuses_the_model(twin: Path, tmp_path: Path) -> None:
    def skip_a_relu(graph: Any) -> None:
        next(node for node in graph.node if node.op_type == "Relu").op_type = "Identity"

    if REQUIREMENTS["winograd"].missing is not None:
        pytest.skip("installed without a C compiler")
    report = verify(VerifySettings(with_graph(twin, tmp_path / "other", skip_a_relu), FEW, backends=("winograd",)))
    assert report.not_for == ()
    with pytest.raises(ModelError, match=r"winograd refuses it: .*--backend mnn"):
        report.check()


@pytest.mark.parametrize(
    ("expected", "actual", "flips", "flips_at_threshold"),
    [
        ((0.2, 0.9), (0.2, 0.9), 0, 0),
        ((0.2, 0.9), (0.7, 0.4), 2, 0),
        ((0.2, 0.500001), (0.2, 0.499999), 0, 1),
        ((0.2, 0.5), (0.2, np.nextafter(np.float32(0.5), np.float32(0))), 0, 1),
        ((0.2, 0.51), (0.2, 0.49), 1, 0),
    ],
)
def test_labels_that_flip_at_the_threshold_are_counted_apart(
    expected: tuple[float, ...], actual: tuple[float, ...], flips: int, flips_at_threshold: int
) -> None:
    backend = compare(columns(*expected), columns(*actual))
    assert (backend.flips, backend.flips_at_threshold) == (flips, flips_at_threshold)
    assert backend.is_within_tolerance == (flips == 0)


def test_the_differences_are_the_largest_and_the_mean() -> None:
    backend = compare(columns(0.25, 0.5, 0.75, 0.5), columns(0.25, 0.75, 0.75, 0.5), "fp16")
    assert (backend.difference, backend.mean_difference) == (0.25, 0.0625)
    assert not backend.is_within_tolerance


@pytest.mark.parametrize(
    ("precision", "distance", "holds"),
    [("fp32", 500.4, True), ("fp32", 500.6, False), ("fp16", 504.0, True), ("fp16", 506.0, False)],
)
def test_a_distance_may_differ_by_a_share_of_itself(precision: str, distance: float, holds: bool) -> None:
    scores = columns(0.2, 0.9)
    reference = Reference(scores, np.asarray([False, True]), 0.5, np.asarray([3.0, 500.0], np.float32))
    found = compare_outputs(reference, "some", precision, Inference(scores, np.asarray([3.0, distance], np.float32)))

    assert found.distance_difference == pytest.approx((distance - 500) / 500, rel=1e-3)
    assert found.is_within_tolerance is holds
    assert "of its value" in found.in_words


def test_a_difference_that_is_no_number_fails_and_is_null_in_json(twin: Path) -> None:
    backend = compare(columns(0.2, 0.9), columns(float("nan"), 0.9))
    assert not backend.is_within_tolerance
    report = verify(VerifySettings(twin, FEW))
    object.__setattr__(report, "backends", (backend,))
    (written,) = json.loads(json.dumps(report.content(), allow_nan=False))["backends"]
    assert (written["difference"], written["holds"]) == (None, False)


def test_a_precision_without_a_tolerance_is_refused() -> None:
    with pytest.raises(ModelError, match="computes in int4, for which no tolerance is set"):
        compare(columns(0.2, 0.9), columns(0.2, 0.9), "int4")


def test_the_auc_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(1)
    for _ in range(20):
        labels = np.append(random.random(30) < 0.4, [False, True])
        scores = (random.integers(0, 8, len(labels)) / 8).astype(np.float32)  # with ties
        assert auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_the_difference_of_the_auc_is_positive_for_a_better_backend() -> None:
    better = compare(columns(0.4, 0.3, 0.1, 0.9), columns(0.4, 0.6, 0.1, 0.9))
    assert better.auc_difference == pytest.approx(0.25)


def test_the_command_shows_which_backends_agree_in_80_columns(twin: Path, tmp_path: Path) -> None:
    done = run(twin, "--examinations", FEW, "--json", tmp_path / "parity.json")
    assert done.exit_code == 0, done.output
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if str(twin) not in line)
    for words in ("4 phantoms", "onnxruntime", "fp32", "agrees", "Research use only"):
        assert words in done.stdout
    content = json.loads((tmp_path / "parity.json").read_text(encoding="utf-8"))
    assert content["examinations"] == FEW
    assert content["model_id"] in done.stdout
    assert [backend["backend"] for backend in content["backends"]] == INSTALLED
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parity.json"]


def test_the_command_fails_if_one_backend_of_two_differs_and_still_shows_and_writes_both(
    twin: Path, tmp_path: Path, put: Put
) -> None:
    put("other", Brighter)
    chosen = ("--backend", "onnxruntime", "--backend", "other", "--json", tmp_path / "parity.json")
    done = run(twin, "--examinations", FEW, *chosen)
    assert isinstance(done.exception, ModelError)
    assert "other differs by" in str(done.exception)
    assert "onnxruntime differs by" not in str(done.exception)
    assert "agrees" in done.stdout
    assert "differs" in done.stdout
    content = json.loads((tmp_path / "parity.json").read_text(encoding="utf-8"))
    assert {backend["backend"]: backend["holds"] for backend in content["backends"]} == {
        "onnxruntime": True,
        "other": False,
    }


def test_the_command_fails_if_one_backend_of_two_refuses_the_model_and_still_shows_the_other(
    twin: Path, tmp_path: Path, put: Put
) -> None:
    put("narrow", Refusing)
    chosen = ("--backend", "onnxruntime", "--backend", "narrow", "--json", tmp_path / "parity.json")
    done = run(twin, "--examinations", FEW, *chosen)
    assert isinstance(done.exception, ModelError)
    assert "narrow refuses it: its converter makes nothing of it" in str(done.exception)
    shown = {line.split()[0]: line.split()[-1] for line in done.stdout.splitlines() if line.strip()}
    assert (shown["onnxruntime"], shown["narrow"]) == ("agrees", "refuses")
    content = json.loads((tmp_path / "parity.json").read_text(encoding="utf-8"))
    assert [backend["backend"] for backend in content["backends"]] == ["onnxruntime"]
    assert content["refused"] == {"narrow": "its converter makes nothing of it"}


@pytest.mark.parametrize("name", ["fake", "none", "ONNXRUNTIME"])
def test_a_backend_that_has_no_model_is_refused(name: str, twin: Path) -> None:
    with pytest.raises(UsageError, match=f"--backend {name}: there is no such backend"):
        VerifySettings(twin, backends=(name,))


def test_a_backend_that_is_not_installed_answers_with_its_install_line(
    twin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(REQUIREMENTS, "absent", Requirement("nowhere_at_all", "pip install absent"))
    assert "absent" not in VerifySettings(twin).backend_names
    with pytest.raises(MissingPackageError, match="absent: pip install absent"):
        verify(VerifySettings(twin, backends=("absent",)))


def test_a_model_that_was_tampered_with_is_refused(twin: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "manifest.json").write_bytes((twin / "manifest.json").read_bytes())
    (folder / "model.onnx").write_bytes((twin / "model.onnx").read_bytes() + b"x")
    with pytest.raises(ModelError, match="SHA-256 differs"):
        verify(VerifySettings(folder, FEW))
