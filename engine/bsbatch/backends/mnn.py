"""MNN on the CPU, in worker processes.

MNN computes 3 x 3 convolutions by Winograd's minimal filtering (Lavin and Gray, CVPR 2016), which needs a quarter to a
fifth of the multiplications. Its ``forward`` holds the interpreter lock, so every worker is a process, with one thread
each if the memory suffices (docs/performance.md). The process of the run never imports MNN.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from mmap import mmap
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from bsbatch.backends.comparison import TOLERANCE, compare_with_onnxruntime
from bsbatch.backends.outputs import stack_outputs
from bsbatch.config import Effort
from bsbatch.errors import BackendError, ModelError, WorkerLostError
from bsbatch.geometry import IMAGE_SHAPE, INPUT_SHAPE
from bsbatch.host.machine import usable_cpus, usable_memory
from bsbatch.host.workers import Isolation, SharedMemory, WorkerPool
from bsbatch.models.derived import Derivation, derive_file
from bsbatch.models.directory import Model, require_model
from bsbatch.protocols import Images
from bsbatch.records import Inference
from bsbatch.requirements import version_of

FILE = "model.mnn"
_BYTES_PER_IMAGE = 4 * IMAGE_SHAPE[0] * IMAGE_SHAPE[1]
_BYTES_PER_WORKER = 600 * 2**20
"""VGG16 at 512 x 512: 560 MiB measured, 300 of them the transformed kernels."""
_IMAGES_PER_WORKER = 8
"""In a batch: a free worker takes the next image, and workers idle only at the end of a batch."""
_SECONDS = 600.0
"""Longer than any conversion or image took on any machine; a call that takes longer hangs."""
_ADVICE = (
    "try fewer --threads, a smaller --batch-size or --backend onnxruntime; the same command goes on where it stopped"
)


class MnnBackend:
    """A pool of workers that take images one by one from memory that they share with this process."""

    precision = "fp32"

    def __init__(self, model: Model | None, effort: Effort, *, with_cams: bool = False) -> None:
        """Prepare; nothing is loaded before enter.

        Raises
        ------
        ModelError
            There is no model, or it gives no heat map and ``with_cams`` asks for one.
        """
        self._model = require_model(model, "--backend mnn")
        manifest = self._model.manifest
        self._image, self._outputs = manifest.input_name, manifest.outputs(with_cams=with_cams)
        threads = min(effort.threads or usable_cpus(), usable_cpus())
        most = max(1, usable_memory() // (2 * _BYTES_PER_WORKER))
        self.lanes = max(lanes for lanes in range(1, min(threads, most) + 1) if threads % lanes == 0)
        self._threads_per_worker = threads // self.lanes
        self._capacity = _IMAGES_PER_WORKER * self.lanes
        self.batch_size = effort.batch_size or self._capacity
        self._memory: SharedMemory
        self._images: NDArray[np.float32]
        self._workers: WorkerPool[list[NDArray[np.float32]]]

    def __enter__(self) -> Self:
        graph = _mnn_file_of(self._model)
        self._memory = SharedMemory(self._capacity * _BYTES_PER_IMAGE)
        self._images = _images_in(self._memory.buffer)
        self._workers = WorkerPool(self.lanes, _SECONDS)
        names = self._image, *self._outputs.values()
        arguments = graph, names, self._threads_per_worker, self._memory.descriptor
        try:
            self._workers.start(Scorer, *arguments, memory=self._memory)
        except Exception as error:  # MNN raises anything in a worker, and a worker may be lost
            self.__exit__(None, None, None)
            raise ModelError(f"MNN cannot use this model ({_describe(error)}): take --backend onnxruntime") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workers.__exit__(kind, error, trace)
        self._memory.close()

    def infer(self, images: Images) -> Inference:
        """Score ``(N, 1, 512, 512)`` images.

        Raises
        ------
        BackendError
            MNN failed, or a worker died.
        """
        if any(image.shape != INPUT_SHAPE for image in images):
            raise BackendError(f"MNN got images of another shape than {INPUT_SHAPE}: {_ADVICE}")
        rows: list[list[NDArray[np.float32]]] = []
        try:
            for first in range(0, len(images), self._capacity):
                part = images[first : first + self._capacity]
                for index, image in enumerate(part):
                    self._images[index] = image
                rows += self._workers.map([(index,) for index in range(len(part))])
        except Exception as error:  # MNN raises anything in a worker, and a worker may be lost
            raise BackendError(f"MNN failed on a batch of {len(images)} ({_describe(error)}): {_ADVICE}") from error
        return stack_outputs(rows, self._outputs)


class Scorer:
    """State of a worker: the loaded graph, and the shared memory with the images."""

    def __init__(self, graph: Path, names: tuple[str, ...], threads: int, descriptor: int) -> None:
        """Load the graph; ``descriptor`` is that of the `SharedMemory`, for the rest see `MnnGraph`."""
        self._images = _images_in(mmap(descriptor, 0))
        self._graph = MnnGraph(graph, names, threads)

    def __call__(self, index: int) -> list[NDArray[np.float32]]:
        """Score one image of the shared memory."""
        return self._graph.score(self._images[index])


class _Tensor(Protocol):
    """The methods of ``MNN.Tensor`` that are used on outputs and copies."""

    def getShape(self) -> tuple[int, ...]: ...  # noqa: N802 - MNN's name

    def copyToHostTensor(self, host: Self) -> bool: ...  # noqa: N802 - MNN's name

    def getData(self) -> Sequence[float]: ...  # noqa: N802 - MNN's name


class MnnGraph:
    """A graph that MNN has loaded into this process; scores one image at a time."""

    def __init__(self, graph: Path, names: tuple[str, ...], threads: int) -> None:
        """Load the graph and transform its kernels.

        Parameters
        ----------
        graph
            File in MNN's format.
        names
            The graph's input, and the outputs to compute; nodes that serve only other outputs are skipped.
        threads
            Threads of MNN.
        """
        self._mnn = import_module("MNN")
        self._interpreter = self._mnn.Interpreter(str(graph))
        # "high" keeps float32 where "normal" might not; on AVX2 all modes are the same
        settings = {"backend": "CPU", "numThread": threads, "precision": "high", "outputPaths": names[1:]}
        self._session = self._interpreter.createSession(settings)
        self._input = self._interpreter.getSessionInput(self._session, names[0])
        if self._input.getShape() != (1, *INPUT_SHAPE):
            self._interpreter.resizeTensor(self._input, (1, *INPUT_SHAPE))
            self._interpreter.resizeSession(self._session)
        self._outputs = [self._interpreter.getSessionOutput(self._session, name) for name in names[1:]]

    def score(self, image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return the outputs of an image ``(1, 512, 512)``, each without its batch axis.

        Raises
        ------
        BackendError
            MNN failed.
        """
        self._input.copyFrom(self._tensor(image[np.newaxis]))
        status = self._interpreter.runSession(self._session)
        if status != 0:
            raise BackendError(f"status {status}")
        return [self._array_of(output) for output in self._outputs]

    def _array_of(self, output: _Tensor) -> NDArray[np.float32]:
        """Copy an output tensor into an array, without the batch axis."""
        shape = output.getShape()
        copy = self._tensor(np.zeros(shape, np.float32))
        output.copyToHostTensor(copy)
        return np.array(copy.getData(), np.float32).reshape(shape[1:])

    def _tensor(self, values: NDArray[np.float32]) -> _Tensor:
        """Copy an array into an MNN tensor of the same layout."""
        kind, order = self._mnn.Halide_Type_Float, self._mnn.Tensor_DimensionType_Caffe
        tensor: _Tensor = self._mnn.Tensor(values.shape, kind, values, order)
        return tensor


def convert(graph: Path, aside: Path, image: str, outputs: Mapping[str, str], tolerance: float = TOLERANCE) -> None:
    """Convert a graph to MNN's format and compare the result with ONNX Runtime.

    Only for worker processes: the converter aborts a process that has loaded the package ``onnx``, because both
    register the same protocol messages.

    Raises
    ------
    ModelError
        The converter writes nothing, or its graph gives other probabilities or heat maps.
    """
    # the extension module directly: its wrapper MNN.tools.mnnconvert calls pip and reports each conversion to a server
    arguments = [
        "mnnconvert",
        "-f",
        "ONNX",
        "--modelFile",
        str(graph),
        "--MNNModel",
        str(aside),
        "--bizCode",
        "bsbatch",
    ]
    import_module("_tools").mnnconvert(arguments)
    if aside.stat().st_size == 0:
        raise ModelError("its converter writes nothing")
    mnn_graph = MnnGraph(aside, (image, *outputs.values()), usable_cpus())
    compare_with_onnxruntime(graph, image, outputs, mnn_graph.score, tolerance)


def _mnn_file_of(model: Model) -> Path:
    manifest = model.manifest
    # all outputs: one converted file serves runs with and without heat maps
    make = partial(_convert_in_worker, image=manifest.input_name, outputs=manifest.all_outputs)
    return derive_file(model, Derivation(FILE, f"MNN {version_of('MNN')}", make))


def _convert_in_worker(graph: Path, aside: Path, image: str, outputs: Mapping[str, str]) -> None:
    with Isolation(_SECONDS) as isolation:
        try:
            isolation.call(convert, graph, aside, image, outputs)
        except Exception as error:  # MNN and ONNX Runtime raise anything in a worker, and a worker may be lost
            raise ModelError(f"MNN cannot use this model ({_describe(error)}): take --backend onnxruntime") from error


def _images_in(memory: mmap) -> NDArray[np.float32]:
    return np.frombuffer(memory, np.float32).reshape(-1, *INPUT_SHAPE)


def _describe(error: Exception) -> str:
    """Return the message of our own errors, and only the type of foreign ones."""
    return str(error) if isinstance(error, ModelError | BackendError | WorkerLostError) else type(error).__name__
