"""ONNX Runtime on the CPU."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import onnxruntime

from bsbatch.config import Effort
from bsbatch.errors import BackendError, ModelError
from bsbatch.host.machine import usable_cpus, usable_memory
from bsbatch.models.directory import Model
from bsbatch.models.onnx.pruning import remove_output
from bsbatch.protocols import Images
from bsbatch.records import Inference

_DEFAULT_BATCH = 4
_BYTES_PER_IMAGE = 300 * 2**20
"""VGG16 at 512 x 512: two maps of 64 x 512 x 512 float32 alive at once, and the im2col of one."""
_ERRORS_ONLY = 3
_THREADS_PER_CPU = 4
"""More of them only wait for one another; thousands never come back."""


class OnnxRuntimeBackend:
    """One session in one thread; ONNX Runtime spreads each call over the processors itself."""

    precision = "fp32"
    lanes = 1

    def __init__(self, model: Model | None, effort: Effort, *, with_cams: bool = False) -> None:
        """Prepare; nothing is loaded before enter.

        Raises
        ------
        ModelError
            There is no model.
        """
        if model is None:
            raise ModelError("the onnxruntime backend needs a model: --model FOLDER")
        self._model = model
        self._outputs = model.manifest.outputs(with_cams=with_cams)
        self._threads = min(effort.threads or usable_cpus(), _THREADS_PER_CPU * usable_cpus())
        self.batch_size = effort.batch_size or max(1, min(_DEFAULT_BATCH, usable_memory() // (4 * _BYTES_PER_IMAGE)))
        self._session: Any = None

    def __enter__(self) -> Self:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = _ERRORS_ONLY
        try:
            self._session = onnxruntime.InferenceSession(
                self._graph(), sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors share no public base class
            raise ModelError(f"ONNX Runtime cannot load {self._model.graph}: {type(error).__name__}") from error
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
            given = self._session.run(list(self._outputs), {self._model.manifest.input_name: np.asarray(images)})
        except Exception as error:  # onnxruntime's errors share no public base class
            raise BackendError(
                f"ONNX Runtime failed on a batch of {len(images)} ({type(error).__name__}): "
                "try a smaller --batch-size; the same command goes on where this run stopped"
            ) from error
        return Inference(*(np.asarray(values, np.float32) for values in given))

    def _graph(self) -> Path | bytes:
        """ONNX Runtime computes every output of a graph, so one that nobody asked for is taken out."""
        cam_name = self._model.manifest.cam_name
        if cam_name is None or cam_name in self._outputs:
            return self._model.graph
        return remove_output(self._model.graph.read_bytes(), cam_name)
