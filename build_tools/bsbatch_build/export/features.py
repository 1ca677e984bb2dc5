"""Reads features and scores of images out of a graph, with the fastest part of the engine that this machine has."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from bsbatch.backends.onnx_session import open_session
from bsbatch.geometry import IMAGE_SHAPE
from bsbatch.host.machine import usable_cpus
from bsbatch.host.threads import FreeList, ordered_map
from bsbatch.models.onnx.trunk import split
from bsbatch.native.library import open_library
from bsbatch.native.winograd import Convolutions
from bsbatch_build import toolchain
from bsbatch_build.export.convert import INPUT, OUTPUT, to_bytes
from bsbatch_build.export.distance import POOLED
from bsbatch_build.export.onnx_types import ModelProto

Floats = NDArray[np.float32]
_Score = Callable[[Floats], list[Floats]]


def read_scores(
    model: ModelProto, images: Iterable[NDArray[np.floating]], on_image: Callable[[], object] = lambda: None
) -> tuple[Floats, Floats]:
    """Compute the features that the head reads, and the scores that its softmax reads.

    Parameters
    ----------
    model
        Graph of the paper's network, see `bsbatch_build.export.convert.to_onnx`.
    images
        ``(512, 512)`` each, in [0, 1].
    on_image
        Called after each image.

    Returns
    -------
    Features ``(N, channels)``, and scores ``(N, 2)``.
    """
    rows = []
    for row in ordered_map(_scorer(_probe(model)), (np.asarray(image, np.float32) for image in images), usable_cpus()):
        rows.append(row)
        on_image()
    features, scores = (np.concatenate(values) for values in zip(*rows, strict=True))
    return features, scores


def _probe(model: ModelProto) -> ModelProto:
    """Return the graph with the features, and the scores that the softmax reads, as its only outputs."""
    probed: ModelProto = toolchain.package("onnx").ModelProto()
    probed.CopyFrom(model)
    helper, kind = toolchain.package("onnx.helper"), toolchain.package("onnx").TensorProto.FLOAT
    scores = next(node.input[0] for node in model.graph.node if OUTPUT in node.output)
    del probed.graph.output[:]
    for name, columns in ((POOLED, "C"), (scores, 2)):
        probed.graph.output.append(helper.make_tensor_value_info(name, kind, ("N", columns)))
    return probed


def _scorer(model: ModelProto) -> _Score:
    """Return a function from an image ``(512, 512)`` to the outputs of a graph; several threads may call it."""
    names = [output.name for output in model.graph.output]
    library = open_library()
    if library is None:
        session = open_session(to_bytes(model), "the graph", threads=1)
        return lambda image: session.run(names, {INPUT: image[np.newaxis, np.newaxis]})
    parts = split(to_bytes(model), *IMAGE_SHAPE)
    convolutions, head = Convolutions(library, parts.trunk, *IMAGE_SHAPE), open_session(parts.head, "head", threads=1)
    workspaces = FreeList[Floats]()
    for _ in range(usable_cpus()):
        workspaces.give_back(convolutions.workspace())

    def score(image: Floats) -> list[Floats]:
        workspace = workspaces.take()
        try:
            features = convolutions.features(image, workspace)
        finally:
            workspaces.give_back(workspace)
        return head.run(names, {parts.features: features[np.newaxis]})

    return score
