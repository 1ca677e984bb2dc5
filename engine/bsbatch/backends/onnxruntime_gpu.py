"""ONNX Runtime on one NVIDIA GPU, in float16: with its CUDA provider, or with its TensorRT provider."""

import hashlib
import json
from importlib import import_module
from importlib.util import find_spec
from types import TracebackType
from typing import Literal, Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from bsbatch.backends.onnx_session import (
    Provider,
    Session,
    open_session,
    translate_load_errors,
    translate_run_errors,
)
from bsbatch.config import BackendName, Effort
from bsbatch.cuda.gpu import ONNXRUNTIME_INSTALL, versions
from bsbatch.cuda.library import LARGEST_BATCH
from bsbatch.cuda.ring import MODEL_SHAPE
from bsbatch.errors import BackendError, ModelError, UsageError
from bsbatch.geometry import INPUT_SHAPE
from bsbatch.host.files import cache_folder
from bsbatch.models.derived import find_intact_file
from bsbatch.models.directory import GRAPH, HALF_GRAPH, Model, require_model
from bsbatch.models.onnx.pruning import prune_to_outputs
from bsbatch.protocols import Images
from bsbatch.records import Inference

_DEFAULT_BATCH = 32
_CUDA_OPTIONS = {"use_tf32": "0", "prefer_nhwc": "1"}
"""Set by default, TF32 would round the operands of the head's float32 products to 10 bits. Tensor cores read channels
last: in the other order cuDNN transposes around each convolution."""


class OnnxRuntimeCudaBackend:
    """One session on the float16 graph of ``bsbatch-build compile``; copies and computation do not overlap.

    All batches have one size, because ONNX Runtime chooses kernels for each size anew: smaller ones are filled up.
    """

    precision = "fp16"
    takes_halves: Literal[True] = True
    name = BackendName.ONNXRUNTIME_CUDA
    provider = "CUDAExecutionProvider"
    absent = "ONNX Runtime finds no GPU that it can use: look at nvidia-smi, or use --backend mnn"
    """Error message if ONNX Runtime does not use the provider."""

    def __init__(self, model: Model | None, effort: Effort, *, with_cams: bool = False) -> None:
        """Prepare; nothing is loaded before enter.

        Raises
        ------
        ModelError
            There is no model, or it gives no heat map and ``with_cams`` asks for one.
        """
        self._model = require_model(model, f"--backend {self.name}")
        self._outputs = self._model.manifest.outputs(with_cams=with_cams)
        self.batch_size = self.lanes = effort.batch_size or _DEFAULT_BATCH
        self._session: Session | None = None

    def __enter__(self) -> Self:
        path = find_intact_file(self._model, HALF_GRAPH)
        if path is None:
            folder = self._model.folder
            raise ModelError(f"{folder} has no {HALF_GRAPH} of its graph: bsbatch-build compile {folder}")
        if self.provider not in onnxruntime.get_available_providers():
            raise ModelError(f"this ONNX Runtime has no {self.provider}: {ONNXRUNTIME_INSTALL}")
        self._preload_libraries()
        with translate_load_errors(path):
            graph = prune_to_outputs(path.read_bytes(), self._outputs.values(), self._model.manifest.cam_name)
        session = open_session(graph, path, providers=self._providers())
        if session.get_providers()[0] != self.provider:  # ONNX Runtime fell back to another and only logged it
            raise ModelError(self.absent)
        session.disable_fallback()  # otherwise a GPU that fails later would leave the rest of the run to the CPU
        self._session = session
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session = None

    def infer(self, images: Images) -> Inference:
        """Score ``(N, 1, 512, 512)`` images, float32 or float16.

        Raises
        ------
        BackendError
            ONNX Runtime failed.
        """
        if self._session is None:
            raise BackendError("the backend is not entered: use it in a with statement")
        size, number = self.batch_size, len(images)
        pieces = [self._run(self._session, images[start : start + size]) for start in range(0, max(1, number), size)]
        outputs = [np.concatenate(values)[:number].astype(np.float32) for values in zip(*pieces, strict=True)]
        return Inference(**dict(zip(self._outputs, outputs, strict=True)))

    def _run(self, session: Session, images: Images) -> list[NDArray[np.float32]]:
        """Compute at most `batch_size` images, and as many blank ones as are missing."""
        shape = images[0].shape if len(images) > 0 else INPUT_SHAPE
        halves = np.zeros((self.batch_size, *shape), np.float16)
        for half, image in zip(halves, images, strict=False):
            half[...] = image
        with translate_run_errors(len(images)):
            return session.run(list(self._outputs.values()), {self._model.manifest.input_name: halves})

    def _preload_libraries(self) -> None:
        """Load CUDA's and cuDNN's libraries, which wheels install outside the loader's search path.

        Before 1.21 ONNX Runtime has no function for it: the libraries must be in the search path.
        """
        if "preload_dlls" in vars(onnxruntime):
            onnxruntime.preload_dlls()

    def _providers(self) -> list[Provider]:
        """Return execution providers in order of preference, each with its options."""
        return [(self.provider, _CUDA_OPTIONS)]


class OnnxRuntimeTensorRtBackend(OnnxRuntimeCudaBackend):
    """The same with ONNX Runtime's TensorRT provider, which compiles an engine once and caches it.

    The graph sets the precision of every tensor and the provider keeps it (a strongly typed network). Operators that
    TensorRT has no layer for run on the CUDA provider.
    """

    name = BackendName.ONNXRUNTIME_TENSORRT
    provider = "TensorrtExecutionProvider"
    absent = (
        "ONNX Runtime finds no TensorRT of the version that it was built for: install the one that the table at "
        "onnxruntime.ai, TensorRT execution provider, names, or use --backend onnxruntime:cuda"
    )

    def __init__(self, model: Model | None, effort: Effort, *, with_cams: bool = False) -> None:
        """Prepare; nothing is loaded before enter.

        Raises
        ------
        ModelError
            There is no model, or it gives no heat map and ``with_cams`` asks for one.
        UsageError
            The batch is too large for TensorRT.
        """
        super().__init__(model, effort, with_cams=with_cams)
        if self.batch_size > LARGEST_BATCH:
            raise UsageError(
                f"--batch-size {self.batch_size} is too large for --backend {self.name}: TensorRT computes at most "
                f"{LARGEST_BATCH} images at once"
            )

    def _preload_libraries(self) -> None:
        super()._preload_libraries()
        if find_spec("tensorrt") is not None:
            import_module("tensorrt")  # loads libnvinfer

    def _providers(self) -> list[Provider]:
        folder = str(cache_folder() / "onnxruntime-tensorrt" / self._cache_key())
        shape = f"1x{MODEL_SHAPE.rows}x{MODEL_SHAPE.columns}"
        options = {
            f"trt_profile_{bound}_shapes": f"{self._model.manifest.input_name}:{batch}x{shape}"
            for bound, batch in (("min", 1), ("opt", self.batch_size), ("max", self.batch_size))
        }
        for kind in ("engine", "timing"):
            options |= {f"trt_{kind}_cache_enable": "True", f"trt_{kind}_cache_path": folder}
        return [(self.provider, options), (OnnxRuntimeCudaBackend.provider, _CUDA_OPTIONS)]

    def _cache_key(self) -> str:
        """Hash of everything an engine depends on.

        ONNX Runtime's own cache name covers layers and GPU architecture, not weights.
        """
        parts = self._model.manifest.files[GRAPH], self._outputs, self.batch_size, onnxruntime.__version__, versions()
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
