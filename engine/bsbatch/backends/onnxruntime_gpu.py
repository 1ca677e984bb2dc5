"""ONNX Runtime on one NVIDIA GPU, in float16: by CUDA alone, or by the TensorRT that ONNX Runtime was built for."""

import hashlib
import json
from importlib import import_module
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self

import numpy as np
import onnxruntime

from bsbatch.config import BackendName, Effort
from bsbatch.cuda.gpu import versions
from bsbatch.cuda.ring import MODEL
from bsbatch.errors import BackendError, ModelError
from bsbatch.host.files import cache_folder
from bsbatch.models.derived import find_intact_file
from bsbatch.models.directory import GRAPH, HALF_GRAPH, Model
from bsbatch.models.onnx.pruning import prune_to_outputs
from bsbatch.protocols import Images
from bsbatch.records import Inference
from bsbatch.registry import BACKENDS

_DEFAULT_BATCH = 32
_ERRORS_ONLY = 3


class OnnxRuntimeCudaBackend:
    """One session, of the float16 graph that ``bsbatch-build compile`` made; copies and work do not overlap."""

    precision = "fp16"
    lanes = 1
    name = BackendName.ONNXRUNTIME_CUDA
    provider = "CUDAExecutionProvider"
    absent = "ONNX Runtime finds no GPU that it can use: look at nvidia-smi, or use --backend mnn"

    def __init__(self, model: Model | None, effort: Effort, *, with_cams: bool = False) -> None:
        """Prepare; nothing is loaded before enter.

        Raises
        ------
        ModelError
            There is no model.
        """
        if model is None:
            raise ModelError(f"the {self.name} backend needs a model: --model FOLDER")
        self._model = model
        self._outputs = model.manifest.outputs(with_cams=with_cams)
        self.batch_size = effort.batch_size or _DEFAULT_BATCH
        self._session: Any = None

    def __enter__(self) -> Self:
        path = find_intact_file(self._model, HALF_GRAPH)
        if path is None:
            folder = self._model.folder
            raise ModelError(f"{folder} has no {HALF_GRAPH} of its graph: bsbatch-build compile {folder}")
        if self.provider not in onnxruntime.get_available_providers():
            raise ModelError(f"this ONNX Runtime has no {self.provider}: {BACKENDS[self.name].install}")
        self._find_libraries()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        try:
            graph = prune_to_outputs(path.read_bytes(), self._outputs, self._model.manifest.cam_name)
            self._session = onnxruntime.InferenceSession(graph, sess_options=options, providers=self._providers())
        except Exception as error:  # onnxruntime's errors share no public base class
            raise ModelError(f"ONNX Runtime cannot load {path}: {type(error).__name__}") from error
        if self._session.get_providers()[0] != self.provider:  # it went to another and said so in a log only
            raise ModelError(self.absent)
        self._session.disable_fallback()  # a GPU that fails later would hand the rest of the run to the CPU
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session = None

    def infer(self, images: Images) -> Inference:
        """Score ``(N, 1, 512, 512)`` images.

        Raises
        ------
        BackendError
            ONNX Runtime gave up.
        """
        try:
            halves = {self._model.manifest.input_name: np.asarray(images, np.float16)}
            given = self._session.run(list(self._outputs), halves)
        except Exception as error:  # onnxruntime's errors share no public base class
            raise BackendError(
                f"ONNX Runtime failed on a batch of {len(images)} ({type(error).__name__}): "
                "try a smaller --batch-size; the same command goes on where this run stopped"
            ) from error
        return Inference(*(np.asarray(values, np.float32) for values in given))

    def _find_libraries(self) -> None:
        """Load those of wheels, which lie where the loader does not look."""
        onnxruntime.preload_dlls()  # CUDA's and cuDNN's

    def _providers(self) -> list[tuple[str, dict[str, str]]]:
        """What computes, the first that can, with its options."""
        return [(self.provider, {})]


class OnnxRuntimeTensorRtBackend(OnnxRuntimeCudaBackend):
    """The same by ONNX Runtime's TensorRT provider, which compiles an engine at first and keeps it.

    The graph says what is float16, and the provider obeys: a strongly typed network. What TensorRT has no layer
    for goes to CUDA.
    """

    name = BackendName.ONNXRUNTIME_TENSORRT
    provider = "TensorrtExecutionProvider"
    absent = (
        "ONNX Runtime finds no TensorRT of the version that it was built for: install the one that the table at "
        "onnxruntime.ai, TensorRT execution provider, names, or use --backend onnxruntime:cuda"
    )

    def _find_libraries(self) -> None:
        super()._find_libraries()
        if find_spec("tensorrt") is not None:
            import_module("tensorrt")  # loads libnvinfer

    def _providers(self) -> list[tuple[str, dict[str, str]]]:
        folder = str(cache_folder() / "onnxruntime-tensorrt" / self._key())
        shape = f"1x{MODEL.rows}x{MODEL.columns}"
        options = {
            f"trt_profile_{bound}_shapes": f"{self._model.manifest.input_name}:{batch}x{shape}"
            for bound, batch in (("min", 1), ("opt", self.batch_size), ("max", self.batch_size))
        }
        for kind in ("engine", "timing"):
            options |= {f"trt_{kind}_cache_enable": "True", f"trt_{kind}_cache_path": folder}
        return [(self.provider, options), (OnnxRuntimeCudaBackend.provider, {})]

    def _key(self) -> str:
        """Of what an engine depends on; ONNX Runtime's own name for it knows layers and architecture, not weights."""
        parts = self._model.manifest.files[GRAPH], self._outputs, self.batch_size, onnxruntime.__version__, versions()
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
