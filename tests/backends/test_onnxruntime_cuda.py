"""The fallback on a GPU, with the CPU in the GPU's place where something shall be computed."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from tests.build_tools.graphs import with_graph

from bsbatch.backends import onnxruntime_cuda as module
from bsbatch.backends.onnxruntime import OnnxRuntimeBackend
from bsbatch.backends.onnxruntime_cuda import OnnxRuntimeCudaBackend
from bsbatch.config import Effort
from bsbatch.derived import Recipe, derived_file
from bsbatch.errors import BackendError, ModelError
from bsbatch.model import GRAPH, HALF_GRAPH, Model
from bsbatch.preprocess import VERSION
from bsbatch_build.convert import to_bytes
from bsbatch_build.golden import golden_examinations
from bsbatch_build.precision import strongly_typed

EFFORT = Effort(batch_size=2)


@pytest.fixture
def model(twin: Path, tmp_path: Path) -> Model:
    """A twin with its float16 graph."""
    model = Model.load(with_graph(twin, tmp_path / "model", lambda _: None), VERSION)
    derived_file(model, Recipe(HALF_GRAPH, "test", halve))
    return model


def write_nonsense(_: Path, aside: Path) -> None:
    aside.write_bytes(b"no graph")


def halve(graph: Path, aside: Path) -> None:
    aside.write_bytes(to_bytes(strongly_typed(onnx.load(graph))))


def test_the_float16_graph_gives_the_probabilities_of_the_float32_one(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PROVIDER", "CPUExecutionProvider")
    images = golden_examinations(2, 0).images
    with OnnxRuntimeCudaBackend(model, EFFORT) as half, OnnxRuntimeBackend(model, EFFORT) as full:
        actual, expected = half.infer(images).probabilities, full.infer(images).probabilities
    assert actual.shape == (2, 2)
    assert actual.dtype == np.float32
    assert 0 < np.abs(actual - expected).max() < 5e-3


def test_maps_are_given_where_they_are_asked_for_and_not_computed_where_not(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PROVIDER", "CPUExecutionProvider")
    images = golden_examinations(2, 0).images
    with OnnxRuntimeCudaBackend(model, EFFORT, with_cams=True) as half:
        actual = half.infer(images)
    with OnnxRuntimeBackend(model, EFFORT, with_cams=True) as full:
        expected = full.infer(images)
    assert actual.cams is not None
    assert expected.cams is not None
    assert np.abs(actual.cams - expected.cams).max() < 0.05 * np.abs(expected.cams).max()
    with OnnxRuntimeCudaBackend(model, EFFORT) as without:
        assert [output.name for output in without._session.get_outputs()] == ["probabilities"]
        assert without.infer(images).cams is None


def test_a_gpu_that_fails_later_does_not_hand_the_run_to_the_cpu(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PROVIDER", "CPUExecutionProvider")
    with OnnxRuntimeCudaBackend(model, EFFORT) as backend:
        assert not backend._session._enable_fallback


def test_a_batch_that_fails_is_told_with_what_to_do(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PROVIDER", "CPUExecutionProvider")
    with OnnxRuntimeCudaBackend(model, EFFORT) as backend, pytest.raises(BackendError, match="smaller --batch-size"):
        backend.infer(np.zeros((1, 3, 8, 8), np.float32))


def test_a_model_without_a_float16_graph_is_refused_with_the_command(model: Model) -> None:
    (model.folder / HALF_GRAPH).write_bytes(b"damaged")
    words = rf"has no model\.fp16\.onnx of its graph: bsbatch-build compile {model.folder}"
    with pytest.raises(ModelError, match=words), OnnxRuntimeCudaBackend(model, EFFORT):
        pass


def test_an_onnx_runtime_without_cuda_is_refused_with_the_install_line(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with (
        pytest.raises(ModelError, match=r'install "onnxruntime-gpu\[cuda,cudnn\]"'),
        OnnxRuntimeCudaBackend(model, EFFORT),
    ):
        pass


def test_a_graph_that_cannot_be_loaded_is_named(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PROVIDER", "CPUExecutionProvider")
    derived_file(model, Recipe(HALF_GRAPH, "another", write_nonsense))
    with pytest.raises(ModelError, match=r"cannot load .*model\.fp16\.onnx"), OnnxRuntimeCudaBackend(model, EFFORT):
        pass


def test_a_silent_fall_back_to_the_cpu_is_refused(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: everything)
    made = onnxruntime.InferenceSession

    def fall_back(graph: bytes, **options: object) -> object:
        return made(graph, providers=["CPUExecutionProvider"], sess_options=options["sess_options"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", fall_back)
    with pytest.raises(ModelError, match="finds no GPU that it can use"), OnnxRuntimeCudaBackend(model, EFFORT):
        pass


def test_there_is_no_backend_without_a_model() -> None:
    with pytest.raises(ModelError, match="--model FOLDER"):
        OnnxRuntimeCudaBackend(None, EFFORT)


def test_the_graph_itself_is_no_stand_in_for_the_float16_one(model: Model) -> None:
    (model.folder / HALF_GRAPH).write_bytes((model.folder / GRAPH).read_bytes())
    with pytest.raises(ModelError, match="bsbatch-build compile"), OnnxRuntimeCudaBackend(model, EFFORT):
        pass
