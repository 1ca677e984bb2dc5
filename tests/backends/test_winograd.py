import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from bsbatch.backends import comparison, winograd
from bsbatch.backends.onnxruntime import OnnxRuntimeBackend
from bsbatch.backends.requirements import REQUIREMENTS
from bsbatch.backends.winograd import PROOF, WinogradBackend
from bsbatch.config import Effort
from bsbatch.errors import BackendError, ModelError
from bsbatch.imaging.preprocess import VERSION
from bsbatch.models.directory import GRAPH, Manifest, Model, sha256_of, write_manifest
from bsbatch.native import library

pytestmark = pytest.mark.skipif(REQUIREMENTS["winograd"].missing is not None, reason="installed without a C compiler")
TWO = Effort(threads=2)


@pytest.fixture
def model(twin: Path) -> Model:
    return Model.load(twin, VERSION)


def images(number: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).random((number, 1, 512, 512), np.float32)


@pytest.mark.parametrize("number", [0, 1, 5, 17])
def test_any_number_of_images_has_the_probabilities_and_maps_of_onnx_runtime(number: int, model: Model) -> None:
    batch = images(number)
    with WinogradBackend(model, TWO, with_cams=True) as own, OnnxRuntimeBackend(model, TWO, with_cams=True) as other:
        found = own.infer(batch)
        expected = other.infer(batch) if number else found

    assert found.probabilities.shape == (number, 2)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, rtol=0, atol=1e-5)
    assert found.cams is not None
    assert expected.cams is not None
    assert found.cams.shape == (number, 32, 32)
    largest = np.abs(expected.cams).max(initial=0)
    np.testing.assert_allclose(found.cams, expected.cams, rtol=0, atol=1e-4 * largest)


@pytest.mark.parametrize(
    ("threads", "mebibytes", "lanes"), [(None, 64_000, 8), (64, 64_000, 8), (3, 64_000, 3), (None, 1000, 4), (2, 0, 1)]
)
def test_images_in_parallel_are_no_more_than_processors_or_memory_allow(
    threads: int | None, mebibytes: int, lanes: int, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winograd, "usable_cpus", lambda: 8)
    monkeypatch.setattr(winograd, "usable_memory", lambda: mebibytes * 2**20)

    assert WinogradBackend(model, Effort(threads)).lanes == lanes


@pytest.fixture
def differences(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The difference of each comparison with ONNX Runtime."""
    values: list[float] = []

    def compare(graph: Path, image: str, outputs: Mapping[str, str], score: comparison.ScoreImage) -> float:
        values.append(comparison.compare_with_onnxruntime(graph, image, outputs, score))
        return values[-1]

    monkeypatch.setattr(winograd, "compare_with_onnxruntime", compare)
    return values


def copy_of(model: Model, folder: Path) -> Model:
    (folder / GRAPH).write_bytes(model.graph.read_bytes())
    write_manifest(folder, Manifest({GRAPH: sha256_of(folder / GRAPH)}, VERSION, "copy"))
    return Model.load(folder, VERSION)


def test_a_graph_is_compared_with_onnx_runtime_once(model: Model, tmp_path: Path, differences: list[float]) -> None:
    copy = copy_of(model, tmp_path)
    for _ in range(2):
        with WinogradBackend(copy, TWO):
            pass

    assert len(differences) == 1
    assert json.loads((tmp_path / PROOF).read_text()) == {"largest_difference": differences[0]}
    assert PROOF in json.loads((tmp_path / "manifest.json").read_text())["derived"]


def test_a_graph_is_compared_each_time_if_the_record_cannot_be_kept(
    model: Model, tmp_path: Path, differences: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(*_: object) -> Path:
        raise ModelError("there is no place")

    copy = copy_of(model, tmp_path)
    monkeypatch.setattr(winograd, "derive_file", nowhere)
    with WinogradBackend(copy, TWO):
        pass

    assert len(differences) == 1


def test_other_probabilities_are_refused(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = copy_of(model, tmp_path)
    strict = partial(comparison.compare_with_onnxruntime, tolerance=-1.0)
    monkeypatch.setattr(winograd, "compare_with_onnxruntime", strict)

    with pytest.raises(ModelError, match=r"differs by .*--backend onnxruntime"):
        WinogradBackend(copy, TWO).__enter__()
    assert not (tmp_path / PROOF).exists()


def test_a_graph_of_another_kind_is_refused_with_advice(model: Model, tmp_path: Path) -> None:
    graph = onnx.load(model.graph)
    next(node for node in graph.graph.node if node.op_type == "Relu").op_type = "Sigmoid"
    onnx.save(graph, tmp_path / GRAPH)
    write_manifest(tmp_path, Manifest({GRAPH: sha256_of(tmp_path / GRAPH)}, VERSION, "other"))

    with pytest.raises(ModelError, match=r"convolutions like those of VGG.*--backend mnn"):
        WinogradBackend(Model.load(tmp_path, VERSION), TWO).__enter__()


def test_a_library_of_another_version_is_refused_with_advice(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "VERSION", 99)
    with pytest.raises(ModelError, match=r"needs 99: install a wheel.*--backend mnn"):
        WinogradBackend(model, TWO).__enter__()
    assert "needs 99" in str(REQUIREMENTS["winograd"].problem)


def test_scoring_before_entering_is_refused(model: Model) -> None:
    with pytest.raises(BackendError, match="not entered"):
        WinogradBackend(model, TWO).infer(images(1))
