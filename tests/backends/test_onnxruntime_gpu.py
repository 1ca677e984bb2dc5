"""ONNX Runtime on a GPU; tests that compute something use the CPU provider in its place."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from tests.archives import write_plain
from tests.backends.replacing import use_backend
from tests.build_tools.graphs import with_graph

from bsbatch.backends import onnxruntime_gpu as gpu_module
from bsbatch.backends.onnxruntime import OnnxRuntimeBackend
from bsbatch.backends.onnxruntime_gpu import OnnxRuntimeCudaBackend, OnnxRuntimeTensorRtBackend
from bsbatch.config import BackendName, Effort, RunConfig
from bsbatch.errors import BackendError, ModelError, UsageError
from bsbatch.imaging.preprocess import VERSION
from bsbatch.models.derived import Derivation, derive_file
from bsbatch.models.directory import GRAPH, HALF_GRAPH, Model
from bsbatch.protocols import Images
from bsbatch.records import Inference
from bsbatch.run.report import SilentReporter
from bsbatch.run.screen import screen
from bsbatch_build.checks.golden import golden_examinations
from bsbatch_build.export.convert import to_bytes
from bsbatch_build.export.precision import rewrite_in_half

EFFORT = Effort(batch_size=2)


@pytest.fixture
def model(twin: Path, tmp_path: Path) -> Model:
    """A twin with its float16 graph."""
    model = Model.load(with_graph(twin, tmp_path / "model", lambda _: None), VERSION)
    derive_file(model, Derivation(HALF_GRAPH, "test", halve))
    return model


def write_nonsense(_: Path, aside: Path) -> None:
    aside.write_bytes(b"no graph")


def halve(graph: Path, aside: Path) -> None:
    aside.write_bytes(to_bytes(rewrite_in_half(onnx.load(graph))))


def test_the_float16_graph_gives_the_probabilities_of_the_float32_one(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OnnxRuntimeCudaBackend, "provider", "CPUExecutionProvider")
    images = golden_examinations(2, 0).images
    with OnnxRuntimeCudaBackend(model, EFFORT) as half, OnnxRuntimeBackend(model, EFFORT) as full:
        actual, expected = half.infer(images).probabilities, full.infer(images).probabilities
    assert actual.shape == (2, 2)
    assert actual.dtype == np.float32
    assert 0 < np.abs(actual - expected).max() < 5e-3


def test_every_batch_has_one_size_and_every_image_its_score(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OnnxRuntimeCudaBackend, "provider", "CPUExecutionProvider")
    images = golden_examinations(5, 0).images
    with OnnxRuntimeCudaBackend(model, EFFORT) as backend:
        session: Any = backend._session
        run, shapes = session.run, list[tuple[int, ...]]()

        def note(outputs: Any, inputs: Any) -> Any:
            shapes.append(inputs["image"].shape)
            return run(outputs, inputs)

        backend._session = SimpleNamespace(run=note)
        scores = backend.infer(images).probabilities
        alone = [backend.infer(images[index : index + 1].astype(np.float16)).probabilities for index in range(5)]
        assert backend.infer(images[:0]).probabilities.shape == (0, 2)
    assert np.array_equal(scores, np.concatenate(alone))
    assert set(shapes) == {(2, 1, 512, 512)}


def test_the_threads_that_read_round_the_images(model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[set[Any]] = []

    class Watched(OnnxRuntimeCudaBackend):
        provider = "CPUExecutionProvider"

        def infer(self, images: Images) -> Inference:
            seen.append({image.dtype for image in images})
            return super().infer(images)

    use_backend(monkeypatch, "onnxruntime:cuda", Watched)
    write_plain(tmp_path / "archive", 3)
    config = RunConfig(
        tmp_path / "archive", tmp_path / "out", model.folder, BackendName.ONNXRUNTIME_CUDA, effort=EFFORT
    )
    assert screen(config, SilentReporter()).scored == 3
    probe, *batches = seen
    assert probe == {np.dtype(np.float32)}
    assert batches == [{np.dtype(np.float16)}] * 2


def test_maps_are_computed_only_if_they_are_wanted(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OnnxRuntimeCudaBackend, "provider", "CPUExecutionProvider")
    images = golden_examinations(2, 0).images
    with OnnxRuntimeCudaBackend(model, EFFORT, with_cams=True) as half:
        actual = half.infer(images)
    with OnnxRuntimeBackend(model, EFFORT, with_cams=True) as full:
        expected = full.infer(images)
    assert actual.cams is not None
    assert expected.cams is not None
    assert np.abs(actual.cams - expected.cams).max() < 0.05 * np.abs(expected.cams).max()
    with OnnxRuntimeCudaBackend(model, EFFORT) as without:
        session: Any = without._session
        assert [output.name for output in session.get_outputs()] == ["probabilities", "distance"]
        assert without.infer(images).cams is None


def test_a_gpu_that_fails_later_does_not_leave_the_run_to_the_cpu(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OnnxRuntimeCudaBackend, "provider", "CPUExecutionProvider")
    with OnnxRuntimeCudaBackend(model, EFFORT) as backend:
        session: Any = backend._session
        assert not session._enable_fallback


def test_a_batch_that_fails_is_reported_with_advice(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OnnxRuntimeCudaBackend, "provider", "CPUExecutionProvider")
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
    monkeypatch.setattr(OnnxRuntimeCudaBackend, "provider", "CPUExecutionProvider")
    derive_file(model, Derivation(HALF_GRAPH, "another", write_nonsense))
    with pytest.raises(ModelError, match=r"cannot load .*model\.fp16\.onnx"), OnnxRuntimeCudaBackend(model, EFFORT):
        pass


class Session:
    """An ``InferenceSession`` that uses the requested providers from the ``first`` one on."""

    first = 0

    def __init__(self, _: bytes, *, providers: list[tuple[str, dict[str, str]]], **__: Any) -> None:
        self.requested = providers

    def run(self, *_: object) -> list[NDArray[np.float32]]:
        raise NotImplementedError

    def get_providers(self) -> list[str]:
        return [*(name for name, _ in self.requested[self.first :]), "CPUExecutionProvider"]

    def disable_fallback(self) -> None: ...


@pytest.fixture
def gpu_runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An ONNX Runtime with both providers."""
    everything = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: everything)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(gpu_module, "find_spec", lambda name: name)
    monkeypatch.setattr(gpu_module, "import_module", lambda name: SimpleNamespace(__name__=name))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.usefixtures("gpu_runtime")
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (OnnxRuntimeCudaBackend, "finds no GPU that it can use"),
        (OnnxRuntimeTensorRtBackend, "no TensorRT of the version .* use --backend onnxruntime:cuda"),
    ],
)
def test_a_silent_fall_back_to_another_provider_is_refused(
    model: Model, kind: type[OnnxRuntimeCudaBackend], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "first", 1)
    with pytest.raises(ModelError, match=words), kind(model, EFFORT):
        pass


def providers_of(model: Model, batch: int = 2, *, with_cams: bool = False) -> list[tuple[str, dict[str, str]]]:
    with OnnxRuntimeTensorRtBackend(model, Effort(batch_size=batch), with_cams=with_cams) as backend:
        assert isinstance(backend._session, Session)
        return backend._session.requested


@pytest.mark.usefixtures("gpu_runtime")
def test_tensorrt_comes_before_cuda_with_one_profile_up_to_the_batch(model: Model) -> None:
    (first, options), second = providers_of(model, batch=24)
    assert (first, second) == (
        "TensorrtExecutionProvider",
        ("CUDAExecutionProvider", {"use_tf32": "0", "prefer_nhwc": "1"}),
    )
    shapes = [options[f"trt_profile_{bound}_shapes"] for bound in ("min", "opt", "max")]
    assert shapes == ["image:1x1x512x512", "image:24x1x512x512", "image:24x1x512x512"]
    assert options["trt_engine_cache_enable"] == options["trt_timing_cache_enable"] == "True"


@pytest.mark.usefixtures("gpu_runtime")
@pytest.mark.parametrize("kind", [OnnxRuntimeCudaBackend, OnnxRuntimeTensorRtBackend])
def test_an_onnx_runtime_that_cannot_preload_cudas_libraries_works(
    model: Model, kind: type[OnnxRuntimeCudaBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions before 1.21; where the function is, it is called."""
    calls: list[str] = []
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: calls.append("preloaded"))
    with kind(model, EFFORT):
        assert calls == ["preloaded"]
    monkeypatch.delattr(onnxruntime, "preload_dlls")
    with kind(model, EFFORT) as backend:
        assert isinstance(backend._session, Session)


@pytest.mark.usefixtures("gpu_runtime")
def test_an_engine_is_cached_for_model_outputs_batch_and_versions(
    model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def folder(model: Model, batch: int = 2, *, with_cams: bool = False) -> Path:
        providers = providers_of(model, batch, with_cams=with_cams)
        return Path(providers[0][1]["trt_engine_cache_path"])

    first = folder(model)
    assert first == folder(model)
    assert first.is_relative_to(tmp_path / "bsbatch")
    another = with_graph(model.folder, tmp_path / "another", lambda graph: setattr(graph, "doc_string", "another"))
    monkeypatch.setattr(gpu_module, "find_intact_file", lambda *_: model.folder / HALF_GRAPH)
    folders = [first, folder(model, 3), folder(model, with_cams=True), folder(Model.load(another, VERSION))]
    monkeypatch.setattr(onnxruntime, "__version__", "9.9")
    assert len({*folders, folder(model)}) == 5


def test_a_batch_that_exceeds_the_count_of_tensorrt_is_refused(model: Model) -> None:
    assert OnnxRuntimeCudaBackend(model, Effort(batch_size=128)).batch_size == 128
    assert OnnxRuntimeTensorRtBackend(model, Effort(batch_size=127)).batch_size == 127
    with pytest.raises(UsageError, match=r"--batch-size 128 is too large .* at most 127 images"):
        OnnxRuntimeTensorRtBackend(model, Effort(batch_size=128))


@pytest.mark.parametrize("kind", [OnnxRuntimeCudaBackend, OnnxRuntimeTensorRtBackend])
def test_there_is_no_backend_without_a_model(kind: type[OnnxRuntimeCudaBackend]) -> None:
    with pytest.raises(ModelError, match=f"--backend {kind.name} needs a model: --model FOLDER"):
        kind(None, EFFORT)


def test_the_graph_itself_is_no_stand_in_for_the_float16_one(model: Model) -> None:
    (model.folder / HALF_GRAPH).write_bytes((model.folder / GRAPH).read_bytes())
    with pytest.raises(ModelError, match="bsbatch-build compile"), OnnxRuntimeCudaBackend(model, EFFORT):
        pass
