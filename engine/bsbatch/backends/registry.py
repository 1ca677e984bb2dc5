"""Backends by name; each module is imported only if its backend is used."""

from collections.abc import Callable
from typing import Protocol

from bsbatch.backends.requirements import REQUIREMENTS
from bsbatch.config import BackendName, Effort
from bsbatch.models.directory import Model
from bsbatch.protocols import Backend


class BackendFactory(Protocol):
    """The class of a backend."""

    @property
    def precision(self) -> str:
        """See `bsbatch.protocols.Backend.precision`."""
        ...

    def __call__(self, model: Model | None, effort: Effort, *, with_cams: bool = False) -> Backend:
        """Construct a backend, with heat maps if ``with_cams``; nothing is loaded before enter.

        Raises
        ------
        bsbatch.errors.ModelError
            The backend needs a model, or the model has no heat map and ``with_cams`` needs one.
        """
        ...


def load_backend(name: str) -> BackendFactory:
    """Import a backend.

    Raises
    ------
    bsbatch.errors.MissingPackageError
        Its package is not installed; the message is the install line.
    """
    REQUIREMENTS[name].check()
    return LOADERS[name]()


def _load_tensorrt() -> BackendFactory:
    from bsbatch.backends.tensorrt import TensorRtBackend

    return TensorRtBackend


def _load_onnxruntime_tensorrt() -> BackendFactory:
    from bsbatch.backends.onnxruntime_gpu import OnnxRuntimeTensorRtBackend

    return OnnxRuntimeTensorRtBackend


def _load_onnxruntime_cuda() -> BackendFactory:
    from bsbatch.backends.onnxruntime_gpu import OnnxRuntimeCudaBackend

    return OnnxRuntimeCudaBackend


def _load_winograd() -> BackendFactory:
    from bsbatch.backends.winograd import WinogradBackend

    return WinogradBackend


def _load_mnn() -> BackendFactory:
    from bsbatch.backends.mnn import MnnBackend

    return MnnBackend


def _load_onnxruntime() -> BackendFactory:
    from bsbatch.backends.onnxruntime import OnnxRuntimeBackend

    return OnnxRuntimeBackend


def _load_fake() -> BackendFactory:
    from bsbatch.backends.fake import FakeBackend

    return FakeBackend


LOADERS: dict[str, Callable[[], BackendFactory]] = {
    BackendName.TENSORRT: _load_tensorrt,
    BackendName.ONNXRUNTIME_TENSORRT: _load_onnxruntime_tensorrt,
    BackendName.ONNXRUNTIME_CUDA: _load_onnxruntime_cuda,
    BackendName.WINOGRAD: _load_winograd,
    BackendName.MNN: _load_mnn,
    BackendName.ONNXRUNTIME: _load_onnxruntime,
    BackendName.FAKE: _load_fake,
}
"""By the name of the backend; the same names as in `bsbatch.backends.requirements.REQUIREMENTS`."""
