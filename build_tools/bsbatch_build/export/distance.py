"""The distance from the training data as a further output of the graph: of the features that the head reads.

Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution Samples" (NeurIPS 2018): the squared
Mahalanobis distance of an image's features from those of the training images. Two things differ. There is one mean and
not one for each class, for the two classes differ by lesions and not by the kind of image. And the features enter as
``log(features + offset)``: those of a scan full of metastases are 50 times the usual, and would set a limit that scans
of another kind stay below (docs/models.md has both compared).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsbatch.models.directory import DISTANCE
from bsbatch_build import toolchain
from bsbatch_build.export.onnx_types import GraphProto, ModelProto

POOLED = "gap/Squeeze"
"""The tensor with the features that the head reads, ``(N, channels)``; only of the paper's network."""


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Mean and covariance of the logarithms of the training images' features."""

    offset: float
    """Added to the features, which are 0 or more, before the logarithm."""
    mean: NDArray[np.float32]
    """``(channels,)``."""
    whitening: NDArray[np.float32]
    """``(channels, channels)``: the distance is ``sum(((log(features + offset) - mean) @ whitening) ** 2)``."""


def has_features(graph: GraphProto) -> bool:
    """Return True if the graph has the features of the paper's head."""
    return any(POOLED in node.output for node in graph.node)


def add_distance(model: ModelProto, moments: Moments) -> None:
    """Add the output ``distance (N,) float32`` to a graph with the features of the paper's head, in place.

    Its nodes and initialisers are named ``distance/...``.
    """
    onnx, helper, graph = toolchain.package("onnx"), toolchain.package("onnx.helper"), model.graph
    values: dict[str, NDArray[np.generic]] = {
        "offset": np.asarray(moments.offset, np.float32),
        "mean": moments.mean,
        "whitening": moments.whitening,
        "axes": np.asarray([1], np.int64),
    }
    offset, mean, whitening, axes = (f"{DISTANCE}/{name}" for name in values)

    def add(kind: str, inputs: list[str], name: str | None = None, **attributes: int) -> str:
        node = f"{DISTANCE}/{kind}"
        graph.node.append(helper.make_node(kind, inputs, [name or node], node, **attributes))
        return name or node

    logarithms = add("Log", [add("Add", [POOLED, offset])])
    whitened = add("MatMul", [add("Sub", [logarithms, mean]), whitening])
    add("ReduceSum", [add("Mul", [whitened, whitened]), axes], DISTANCE, keepdims=0)
    from_array = toolchain.package("onnx.numpy_helper").from_array
    graph.initializer.extend(from_array(array, f"{DISTANCE}/{name}") for name, array in values.items())
    graph.output.append(helper.make_tensor_value_info(DISTANCE, onnx.TensorProto.FLOAT, ("N",)))
