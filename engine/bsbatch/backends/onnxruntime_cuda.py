"""ONNX Runtime on one NVIDIA GPU, in float16: where there is no TensorRT."""

from types import TracebackType
from typing import Any, Self

import numpy as np
import onnxruntime

from bsbatch.config import Effort
from bsbatch.derived import intact
from bsbatch.errors import BackendError, ModelError
from bsbatch.model import HALF_GRAPH, Model
from bsbatch.protocols import Images
from bsbatch.pruning import for_outputs
from bsbatch.records import Inference

_DEFAULT_BATCH = 32
_ERRORS_ONLY = 3
_PROVIDER = "CUDAExecutionProvider"
_INSTALL = 'pip uninstall onnxruntime; pip install "onnxruntime-gpu[cuda,cudnn]"'


class OnnxRuntimeCudaBackend:
    """One session, of the float16 graph that ``bsbatch-build compile`` made; copies and work do not overlap."""

    precision = "fp16"
    lanes = 1

    def __init__(self, model: Model | None, effort: Effort, *, with_cams: bool = False) -> None:
        """Prepare; nothing is loaded before enter.

        Raises
        ------
        ModelError
            There is no model.
        """
        if model is None:
            raise ModelError("the onnxruntime:cuda backend needs a model: --model FOLDER")
        self._model = model
        self._outputs = model.manifest.outputs(with_cams=with_cams)
        self.batch_size = effort.batch_size or _DEFAULT_BATCH
        self._session: Any = None

    def __enter__(self) -> Self:
        path = intact(self._model, HALF_GRAPH)
        if path is None:
            folder = self._model.folder
            raise ModelError(f"{folder} has no {HALF_GRAPH} of its graph: bsbatch-build compile {folder}")
        if _PROVIDER not in onnxruntime.get_available_providers():
            raise ModelError(f"this ONNX Runtime has no {_PROVIDER}: {_INSTALL}")
        onnxruntime.preload_dlls()  # CUDA's and cuDNN's own wheels lie where the loader does not look
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        try:
            graph = for_outputs(path.read_bytes(), self._outputs, self._model.manifest.cam_name)
            self._session = onnxruntime.InferenceSession(graph, sess_options=options, providers=[_PROVIDER])
        except Exception as error:  # onnxruntime's errors share no public base class
            raise ModelError(f"ONNX Runtime cannot load {path}: {type(error).__name__}") from error
        if self._session.get_providers()[0] != _PROVIDER:  # it went to the CPU and said so in a log only
            raise ModelError("ONNX Runtime finds no GPU that it can use: look at nvidia-smi, or use --backend mnn")
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
