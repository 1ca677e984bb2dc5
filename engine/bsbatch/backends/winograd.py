"""Convolutions of our own on the CPU, ONNX Runtime for the head behind them.

Nearly all of VGG16's arithmetic is 3 x 3 convolutions. ``native/winograd.c`` computes them with a quarter of the
multiplications (Lavin and Gray, CVPR 2016), an image in each thread, without the interpreter's lock.
"""

import json
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import onnxruntime

from bsbatch.backends.comparison import hold_against_onnxruntime
from bsbatch.config import Effort
from bsbatch.errors import BackendError, ModelError, OtherGraphError
from bsbatch.host.machine import usable_cpus, usable_memory
from bsbatch.host.threads import FreeList, ordered_map
from bsbatch.models.derived import Derivation, derive_file
from bsbatch.models.directory import Model
from bsbatch.models.onnx.pruning import prune_to_outputs
from bsbatch.models.onnx.trunk import split
from bsbatch.native.library import VERSION, open_library
from bsbatch.native.winograd import Convolutions, Floats
from bsbatch.protocols import Images
from bsbatch.records import Inference

PROOF = "model.winograd.json"
"""Says that the convolutions were held against ONNX Runtime, once for each graph and width of vectors; with maps
``model.winograd.cam.json``."""
_IMAGE = (1, 512, 512)
_CAM = (32, 32)
_BYTES_PER_THREAD = 120 * 2**20
"""VGG16 at 512 x 512: 91 MiB to work in; the kernels, 235 MiB, are shared."""
_IMAGES_PER_THREAD = 8
"""In a batch: whoever is free takes the next image, and only at the end of a batch one waits for another."""
_ERRORS_ONLY = 3
_ADVICE = (
    "try fewer --threads, a smaller --batch-size or --backend onnxruntime; the same command goes on where it stopped"
)


class WinogradBackend:
    """One copy of the kernels, and as many images at work as there are threads."""

    precision = "fp32"

    def __init__(self, model: Model | None, effort: Effort, *, with_cams: bool = False) -> None:
        """Prepare; nothing is loaded before enter.

        Raises
        ------
        ModelError
            There is no model.
        """
        if model is None:
            raise ModelError("the winograd backend needs a model: --model FOLDER")
        self._model = model
        self._outputs = model.manifest.outputs(with_cams=with_cams)
        threads = min(effort.threads or usable_cpus(), usable_cpus())
        self.lanes = max(1, min(threads, usable_memory() // (2 * _BYTES_PER_THREAD)))
        self.batch_size = effort.batch_size or _IMAGES_PER_THREAD * self.lanes
        self._rooms: FreeList[Floats]
        self._network: _Network | None = None

    def __enter__(self) -> Self:
        network = _Network(self._model, self._outputs)
        self._prove(network)
        self._rooms = FreeList()
        for _ in range(self.lanes):
            self._rooms.give_back(network.convolutions.workspace())
        self._network = network
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._network = None
        self._rooms = FreeList()

    def infer(self, images: Images) -> Inference:
        """Score ``(N, 1, 512, 512)`` images.

        Raises
        ------
        BackendError
            ONNX Runtime gave up, or images are of another shape.
        """
        if self._network is None:
            raise BackendError("the backend is not entered: use it in a with statement")
        if any(image.shape != _IMAGE for image in images):
            raise BackendError(f"the winograd backend got images of another shape than {_IMAGE}: {_ADVICE}")
        try:
            rows = list(ordered_map(partial(self._score, self._network), images, self.lanes))
        except Exception as error:  # onnxruntime's errors share no public base class
            raise BackendError(
                f"ONNX Runtime failed on a batch of {len(images)} ({type(error).__name__}): {_ADVICE}"
            ) from error
        probabilities = np.asarray([row[0] for row in rows], np.float32).reshape(-1, 2)
        if len(self._outputs) == 1:
            return Inference(probabilities)
        return Inference(probabilities, np.asarray([row[1] for row in rows], np.float32).reshape(-1, *_CAM))

    def _score(self, network: "_Network", image: Floats) -> list[Floats]:
        room = self._rooms.take()
        try:
            return network.score(image, room)
        finally:
            self._rooms.give_back(room)

    def _prove(self, network: "_Network") -> None:
        names, room = (self._model.manifest.input_name, *self._outputs), network.convolutions.workspace()

        def prove(graph: Path, aside: Path) -> None:
            aside.write_text(json.dumps({"largest_difference": difference(graph)}), encoding="utf-8")

        def difference(graph: Path) -> float:
            try:
                return hold_against_onnxruntime(graph, names, lambda image: network.score(image, room))
            except ModelError as error:
                raise ModelError(
                    f"the winograd backend fails on {graph} ({error}): --backend onnxruntime takes it"
                ) from error

        name = PROOF if len(self._outputs) == 1 else PROOF.replace(".json", ".cam.json")
        try:
            derive_file(self._model, Derivation(name, f"bsbatch-native {VERSION}.{network.convolutions.lanes}", prove))
        except ModelError:  # nowhere to keep it, or it failed: then it says so again
            difference(self._model.graph)


class _Network:
    """A graph in two: its convolutions as arranged kernels, and a session for the head."""

    def __init__(self, model: Model, outputs: tuple[str, ...]) -> None:
        library = open_library()
        if library is None:
            raise ModelError(
                "bsbatch was installed without its compiled part: install a C compiler and bsbatch again, "
                "or use --backend mnn"
            )
        try:
            graph = prune_to_outputs(model.graph.read_bytes(), outputs, model.manifest.cam_name)
            parts = split(graph, *_IMAGE[1:])
            self.convolutions = Convolutions(library, parts.trunk, *_IMAGE[1:])
        except OSError as error:
            raise ModelError(f"the winograd backend cannot load {model.graph}: {error.strerror}") from error
        except ValueError as error:
            words = f"the winograd backend cannot load {model.graph} ({error}): use --backend mnn"
            raise OtherGraphError(words) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        try:
            self._head: Any = onnxruntime.InferenceSession(parts.head, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors share no public base class
            raise ModelError(f"ONNX Runtime cannot load the head of {model.graph}: {type(error).__name__}") from error
        self._features, self._outputs = parts.features, list(outputs)

    def score(self, image: Floats, room: Floats) -> list[Floats]:
        """Give what the outputs hold for an image ``(1, 512, 512)``."""
        features = self.convolutions.features(image[0], room)
        given: list[Floats] = self._head.run(self._outputs, {self._features: features[np.newaxis]})
        return [values[0] for values in given]
