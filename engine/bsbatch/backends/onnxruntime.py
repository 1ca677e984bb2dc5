"""ONNX Runtime on the CPU."""

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from bsbatch.backends.onnx_session import Session, open_session, translate_load_errors, translate_run_errors
from bsbatch.config import Effort
from bsbatch.errors import BackendError
from bsbatch.host.machine import usable_cpus, usable_memory
from bsbatch.models.directory import Model, require_model
from bsbatch.models.onnx.pruning import remove_output
from bsbatch.protocols import Images
from bsbatch.records import Inference

_DEFAULT_BATCH = 4
_BYTES_PER_IMAGE = 300 * 2**20
"""VGG16 at 512 x 512: two activations of 64 x 512 x 512 float32 alive at once, and the im2col buffer of one."""
_THREADS_PER_CPU = 4
"""Limit: more threads only wait for one another, and with thousands ONNX Runtime never returns."""


class OnnxRuntimeBackend:
    """One session in one thread; ONNX Runtime spreads each call over the processors itself."""

    precision = "fp32"
    lanes = 1

    def __init__(self, model: Model | None, effort: Effort, *, with_cams: bool = False) -> None:
        """Prepare; nothing is loaded before enter.

        Raises
        ------
        ModelError
            There is no model, or it gives no heat map and ``with_cams`` asks for one.
        """
        self._model = require_model(model, "--backend onnxruntime")
        self._outputs = self._model.manifest.outputs(with_cams=with_cams)
        self._threads = min(effort.threads or usable_cpus(), _THREADS_PER_CPU * usable_cpus())
        self.batch_size = effort.batch_size or max(1, min(_DEFAULT_BATCH, usable_memory() // (4 * _BYTES_PER_IMAGE)))
        self._session: Session | None = None

    def __enter__(self) -> Self:
        path = self._model.graph
        with translate_load_errors(path):
            graph = self._graph()
        self._session = open_session(graph, path, threads=self._threads)
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
            ONNX Runtime failed.
        """
        if self._session is None:
            raise BackendError("the backend is not entered: use it in a with statement")
        with translate_run_errors(len(images)):
            values = self._session.run(
                list(self._outputs.values()), {self._model.manifest.input_name: np.asarray(images)}
            )
        arrays = (np.asarray(value, np.float32) for value in values)
        return Inference(**dict(zip(self._outputs, arrays, strict=True)))

    def _graph(self) -> Path | bytes:
        """Return the graph without its heat map if none is wanted: ONNX Runtime computes every output of a graph."""
        cam_name = self._model.manifest.cam_name
        if cam_name is None or "cams" in self._outputs:
            return self._model.graph
        return remove_output(self._model.graph.read_bytes(), cam_name)
