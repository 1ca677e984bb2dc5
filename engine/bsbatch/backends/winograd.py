"""Compiled Winograd convolutions on the CPU, and ONNX Runtime for the head behind them.

Nearly all of VGG16's arithmetic is 3 x 3 convolutions. ``native/winograd.c`` computes them with a quarter of the
multiplications (Lavin and Gray, CVPR 2016), one image in each thread, without the interpreter lock.
"""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from bsbatch.backends.comparison import compare_with_onnxruntime
from bsbatch.backends.onnx_session import open_session, translate_run_errors
from bsbatch.backends.outputs import stack_outputs
from bsbatch.config import Effort
from bsbatch.errors import BackendError, ModelError, OtherGraphError
from bsbatch.geometry import IMAGE_SHAPE, INPUT_SHAPE
from bsbatch.host.machine import usable_cpus, usable_memory
from bsbatch.host.threads import FreeList, ordered_map
from bsbatch.models.derived import Derivation, derive_file
from bsbatch.models.directory import Model, require_model
from bsbatch.models.onnx.pruning import prune_to_outputs
from bsbatch.models.onnx.trunk import split
from bsbatch.native.library import VERSION, open_library, problem_of
from bsbatch.native.winograd import Convolutions, Floats
from bsbatch.protocols import Images
from bsbatch.records import Inference

PROOF = "model.winograd.json"
"""Record that the convolutions were compared with ONNX Runtime, once for each graph and vector width.

With heat maps it is ``model.winograd.cam.json``.
"""
_BYTES_PER_THREAD = 120 * 2**20
"""VGG16 at 512 x 512: a workspace of 91 MiB. The kernels, 235 MiB, are shared by all threads."""
_IMAGES_PER_THREAD = 8
"""In a batch: a free thread takes the next image, and threads idle only at the end of a batch."""
_ADVICE = (
    "try fewer --threads, a smaller --batch-size or --backend onnxruntime; the same command goes on where it stopped"
)


class WinogradBackend:
    """One copy of the kernels, and one image at a time in each thread."""

    precision = "fp32"

    def __init__(self, model: Model | None, effort: Effort, *, with_cams: bool = False) -> None:
        """Prepare; nothing is loaded before enter.

        Raises
        ------
        ModelError
            There is no model, or it gives no heat map and ``with_cams`` asks for one.
        """
        self._model = require_model(model, "--backend winograd")
        self._outputs = self._model.manifest.outputs(with_cams=with_cams)
        threads = min(effort.threads or usable_cpus(), usable_cpus())
        self.lanes = max(1, min(threads, usable_memory() // (2 * _BYTES_PER_THREAD)))
        self.batch_size = effort.batch_size or _IMAGES_PER_THREAD * self.lanes
        self._workspaces: FreeList[Floats]
        self._graph: _SplitGraph | None = None

    def __enter__(self) -> Self:
        graph = _SplitGraph(self._model, self._outputs)
        self._validate(graph)
        self._workspaces = FreeList()
        for _ in range(self.lanes):
            self._workspaces.give_back(graph.convolutions.workspace())
        self._graph = graph
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._graph = None
        self._workspaces = FreeList()

    def infer(self, images: Images) -> Inference:
        """Score ``(N, 1, 512, 512)`` images.

        Raises
        ------
        BackendError
            ONNX Runtime failed, or images are of another shape.
        """
        if self._graph is None:
            raise BackendError("the backend is not entered: use it in a with statement")
        if any(image.shape != INPUT_SHAPE for image in images):
            raise BackendError(f"the winograd backend got images of another shape than {INPUT_SHAPE}: {_ADVICE}")
        with translate_run_errors(len(images), _ADVICE):
            rows = list(ordered_map(partial(self._score, self._graph), images, self.lanes))
        return stack_outputs(rows, self._outputs)

    def _score(self, graph: "_SplitGraph", image: Floats) -> list[Floats]:
        workspace = self._workspaces.take()
        try:
            return graph.score(image, workspace)
        finally:
            self._workspaces.give_back(workspace)

    def _validate(self, split_graph: "_SplitGraph") -> None:
        """Compare with ONNX Runtime unless a record says that it was done; the record is a derived file."""
        image, workspace = self._model.manifest.input_name, split_graph.convolutions.workspace()

        def write_proof(graph: Path, aside: Path) -> None:
            aside.write_text(json.dumps({"largest_difference": compare(graph)}), encoding="utf-8")

        def compare(graph: Path) -> float:
            try:
                return compare_with_onnxruntime(
                    graph, image, self._outputs, lambda image: split_graph.score(image, workspace)
                )
            except ModelError as error:
                raise ModelError(
                    f"the winograd backend cannot use this model ({error}): take --backend onnxruntime"
                ) from error

        name = PROOF.replace(".json", ".cam.json") if "cams" in self._outputs else PROOF
        maker = f"bsbatch-native {VERSION}.{split_graph.convolutions.lanes}"
        try:
            derive_file(self._model, Derivation(name, maker, write_proof))
        except ModelError:  # no folder to keep it, or the comparison failed: then it fails again
            compare(self._model.graph)


class _SplitGraph:
    """A graph in two parts: its convolutions as arranged kernels, and a session for the head."""

    def __init__(self, model: Model, outputs: Mapping[str, str]) -> None:
        library = open_library()
        if library is None:
            raise ModelError(f"the winograd backend: {problem_of()}; or use --backend mnn")
        try:
            graph = prune_to_outputs(model.graph.read_bytes(), outputs.values(), model.manifest.cam_name)
            parts = split(graph, *IMAGE_SHAPE)
            self.convolutions = Convolutions(library, parts.trunk, *IMAGE_SHAPE)
        except OSError as error:
            raise ModelError(f"the winograd backend cannot load {model.graph}: {error.strerror}") from error
        except ValueError as error:
            message = f"the winograd backend cannot load {model.graph} ({error}): use --backend mnn"
            raise OtherGraphError(message) from error
        self._head = open_session(parts.head, f"the head of {model.graph}", threads=1)
        self._features_name, self._outputs = parts.features, list(outputs.values())

    def score(self, image: Floats, workspace: Floats) -> list[Floats]:
        """Return the outputs for an image ``(1, 512, 512)``, without the batch axis."""
        features = self.convolutions.features(image[0], workspace)
        return [values[0] for values in self._head.run(self._outputs, {self._features_name: features[np.newaxis]})]
