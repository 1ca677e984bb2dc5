"""ONNX Runtime on the CPU."""

from types import TracebackType
from typing import Any, Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from bsbatch.concurrency import usable_cpus, usable_memory
from bsbatch.config import Effort
from bsbatch.errors import BackendError, ModelError
from bsbatch.model import Model

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

    def __init__(self, model: Model | None, effort: Effort) -> None:
        """Prepare; nothing is loaded before enter.

        Raises
        ------
        ModelError
            There is no model.
        """
        if model is None:
            raise ModelError("the onnxruntime backend needs a model: --model FOLDER")
        self._model = model
        self._threads = min(effort.threads or usable_cpus(), _THREADS_PER_CPU * usable_cpus())
        self.batch_size = effort.batch_size or max(1, min(_DEFAULT_BATCH, usable_memory() // (4 * _BYTES_PER_IMAGE)))
        self._session: Any = None

    def __enter__(self) -> Self:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = _ERRORS_ONLY
        try:
            self._session = onnxruntime.InferenceSession(
                self._model.graph, sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors share no public base class
            raise ModelError(f"ONNX Runtime cannot load {self._model.graph}: {type(error).__name__}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session = None

    def infer(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give ``(N, 2)`` probabilities for ``(N, 1, 512, 512)`` images.

        Raises
        ------
        BackendError
            ONNX Runtime gave up.
        """
        manifest = self._model.manifest
        try:
            (probabilities,) = self._session.run([manifest.output_name], {manifest.input_name: images})
        except Exception as error:  # onnxruntime's errors share no public base class
            raise BackendError(
                f"ONNX Runtime failed on a batch of {len(images)} ({type(error).__name__}): "
                "try a smaller --batch-size; the same command goes on where this run stopped"
            ) from error
        return np.asarray(probabilities, np.float32)
