"""MNN on the CPU, in processes of its own.

MNN computes 3 x 3 convolutions by Winograd's minimal filtering (Lavin and Gray, CVPR 2016), which takes a quarter to a
fifth of the multiplications. Its ``forward`` holds the interpreter, so every worker is a process, of one thread where
the memory allows (docs/performance.md). This process never imports MNN.
"""

from functools import partial
from importlib import import_module
from mmap import mmap
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bsbatch.backends.comparison import TOLERANCE, hold_against_onnxruntime
from bsbatch.config import Effort
from bsbatch.errors import BackendError, ModelError, WorkerLostError
from bsbatch.host.machine import usable_cpus, usable_memory
from bsbatch.host.workers import Isolation, SharedMemory, WorkerPool
from bsbatch.models.derived import Derivation, derive_file
from bsbatch.models.directory import Manifest, Model
from bsbatch.protocols import Images
from bsbatch.records import Inference
from bsbatch.registry import installed_version

FILE = "model.mnn"
_IMAGE = (1, 512, 512)
_CAM = (32, 32)
_WITHOUT_CAMS = 2
"""Names of a graph's input and of the probabilities."""
_BYTES_PER_IMAGE = 4 * 512 * 512
_BYTES_PER_WORKER = 600 * 2**20
"""VGG16 at 512 x 512: 560 MiB were measured, 300 of them the kernels as Winograd's."""
_IMAGES_PER_WORKER = 8
"""In a batch: whoever is free takes the next image, and only at the end of a batch one waits for another."""
_SECONDS = 600.0
"""Longer than any conversion or image took on any machine; what takes longer hangs."""
_ADVICE = (
    "try fewer --threads, a smaller --batch-size or --backend onnxruntime; the same command goes on where it stopped"
)


class MnnBackend:
    """A crew of workers that take images one by one, out of a memory that they share with this process."""

    precision = "fp32"

    def __init__(self, model: Model | None, effort: Effort, *, with_cams: bool = False) -> None:
        """Prepare; nothing is loaded before enter.

        Raises
        ------
        ModelError
            There is no model.
        """
        if model is None:
            raise ModelError("the mnn backend needs a model: --model FOLDER")
        self._model = model
        self._names = model.manifest.input_name, *model.manifest.outputs(with_cams=with_cams)
        threads = min(effort.threads or usable_cpus(), usable_cpus())
        most = max(1, usable_memory() // (2 * _BYTES_PER_WORKER))
        self.lanes = max(lanes for lanes in range(1, min(threads, most) + 1) if threads % lanes == 0)
        self._threads_per_worker = threads // self.lanes
        self._places = _IMAGES_PER_WORKER * self.lanes
        self.batch_size = effort.batch_size or self._places
        self._memory: SharedMemory
        self._images: NDArray[np.float32]
        self._crew: WorkerPool

    def __enter__(self) -> Self:
        graph = _converted(self._model)
        self._memory = SharedMemory(self._places * _BYTES_PER_IMAGE)
        self._images = _images_in(self._memory.buffer)
        self._crew = WorkerPool(self.lanes, _SECONDS)
        details = graph, self._names, self._threads_per_worker, self._memory.descriptor
        try:
            self._crew.start(Scorer, *details, memory=self._memory)
        except Exception as error:  # whatever MNN raises in a worker, or a worker that is lost
            self.__exit__(None, None, None)
            raise ModelError(f"MNN cannot load {graph} ({_words(error)}): --backend onnxruntime takes it") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._crew.__exit__(kind, error, trace)
        self._memory.close()

    def infer(self, images: Images) -> Inference:
        """Score ``(N, 1, 512, 512)`` images.

        Raises
        ------
        BackendError
            MNN gave up, or a worker died.
        """
        if any(image.shape != _IMAGE for image in images):
            raise BackendError(f"MNN got images of another shape than {_IMAGE}: {_ADVICE}")
        rows: list[list[NDArray[np.float32]]] = []
        try:
            for first in range(0, len(images), self._places):
                part = images[first : first + self._places]
                for place, image in enumerate(part):
                    self._images[place] = image
                rows += self._crew.map([(place,) for place in range(len(part))])
        except Exception as error:  # whatever MNN raises in a worker, or a worker that is lost
            raise BackendError(f"MNN failed on a batch of {len(images)} ({_words(error)}): {_ADVICE}") from error
        return self._inference(rows)

    def _inference(self, rows: list[list[NDArray[np.float32]]]) -> Inference:
        """Put what each image gave together, also where there was none."""
        probabilities = np.asarray([row[0] for row in rows], np.float32).reshape(-1, 2)
        if len(self._names) == _WITHOUT_CAMS:
            return Inference(probabilities)
        return Inference(probabilities, np.asarray([row[1] for row in rows], np.float32).reshape(-1, *_CAM))


class Scorer:
    """What a worker holds: the loaded graph, and the memory with the images."""

    def __init__(self, graph: Path, names: tuple[str, ...], threads: int, descriptor: int) -> None:
        """Load the graph; ``descriptor`` is that of the `SharedMemory`, the rest see `Network`."""
        self._images = _images_in(mmap(descriptor, 0))
        self._network = Network(graph, names, threads)

    def __call__(self, place: int) -> list[NDArray[np.float32]]:
        """Score the image in a place of the memory."""
        return self._network.score(self._images[place])


class Network:
    """A graph that MNN loaded into this process, ready for one image after the other."""

    def __init__(self, graph: Path, names: tuple[str, ...], threads: int) -> None:
        """Load it, which transforms the kernels.

        Parameters
        ----------
        graph
            File in MNN's format.
        names
            The graph's input, and the outputs that are wanted; what they do not need is not computed.
        threads
            How many MNN may use.
        """
        self._mnn = import_module("MNN")
        self._interpreter = self._mnn.Interpreter(str(graph))
        # "high" keeps float32 where "normal" might not; on AVX2 all modes are the same
        settings = {"backend": "CPU", "numThread": threads, "precision": "high", "outputPaths": names[1:]}
        self._session = self._interpreter.createSession(settings)
        self._input = self._interpreter.getSessionInput(self._session, names[0])
        if self._input.getShape() != (1, *_IMAGE):
            self._interpreter.resizeTensor(self._input, (1, *_IMAGE))
            self._interpreter.resizeSession(self._session)
        self._outputs = [self._interpreter.getSessionOutput(self._session, name) for name in names[1:]]

    def score(self, image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Give ``(2,)`` probabilities, and a map ``(32, 32)`` if it is wanted, for an image ``(1, 512, 512)``.

        Raises
        ------
        BackendError
            MNN gave up.
        """
        self._input.copyFrom(self._tensor(image[np.newaxis]))
        status = self._interpreter.runSession(self._session)
        if status != 0:
            raise BackendError(f"status {status}")
        return [self._values(output) for output in self._outputs]

    def _values(self, output: Any) -> NDArray[np.float32]:
        """What an output of a session holds for its one image."""
        shape = output.getShape()
        copy = self._tensor(np.zeros(shape, np.float32))
        output.copyToHostTensor(copy)
        return np.array(copy.getData(), np.float32).reshape(shape[1:])

    def _tensor(self, values: NDArray[np.float32]) -> Any:
        """Copy an array into a tensor that is laid out as it is."""
        kind, order = self._mnn.Halide_Type_Float, self._mnn.Tensor_DimensionType_Caffe
        return self._mnn.Tensor(values.shape, kind, values, order)


def convert(graph: Path, aside: Path, names: tuple[str, ...], tolerance: float = TOLERANCE) -> None:
    """Fill a file in MNN's format and hold it against ONNX Runtime.

    Only for workers: the converter ends a process that has loaded the package ``onnx``, for both bring its messages.

    Raises
    ------
    ModelError
        Nothing comes out, or something that gives other probabilities or maps.
    """
    # the extension module itself: its wrapper MNN.tools.mnnconvert calls pip and reports each conversion to a server
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
        raise ModelError("its converter makes nothing of it")
    hold_against_onnxruntime(graph, names, Network(aside, names, usable_cpus()).score, tolerance)


def _converted(model: Model) -> Path:
    make = partial(_convert_elsewhere, names=_names(model.manifest))
    return derive_file(model, Derivation(FILE, f"MNN {installed_version('MNN')}", make))


def _convert_elsewhere(graph: Path, aside: Path, names: tuple[str, ...]) -> None:
    with Isolation(_SECONDS) as isolation:
        try:
            isolation.call(convert, graph, aside, names)
        except Exception as error:  # whatever MNN and ONNX Runtime raise in a worker, or a worker that is lost
            raise ModelError(f"MNN cannot load {graph} ({_words(error)}): --backend onnxruntime takes it") from error


def _names(manifest: Manifest) -> tuple[str, ...]:
    """The graph's input and all of its outputs: the converted file serves whoever wants maps and who does not."""
    return manifest.input_name, *manifest.outputs(with_cams=manifest.cam_name is not None)


def _images_in(memory: mmap) -> NDArray[np.float32]:
    return np.frombuffer(memory, np.float32).reshape(-1, *_IMAGE)


def _words(error: Exception) -> str:
    """Our own words, and of others' errors the kind alone."""
    return str(error) if isinstance(error, ModelError | BackendError | WorkerLostError) else type(error).__name__
