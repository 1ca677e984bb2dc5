"""Grad-CAM as a further output of the graph: in closed form, so that no backend needs a backward pass.

Grad-CAM (Selvaraju et al., ICCV 2017) weights each channel of the last convolution's activation by the mean of the
gradient of a class's probability, and adds the channels up. Max pooling, global average pooling,
``h = relu(W1' a + b1)`` and ``softmax(W2' h + b2)`` follow that activation. Max pooling passes the gradient of each of
its cells to one position. The sum of the gradient over the positions, and therefore its mean, is that of the pooled
cells: of channel ``k``

    p (1 - p) / 1024 * sum over j of (W2[j, 1] - W2[j, 0]) [h[j] > 0] W1[k, j]

for the class metastasis, and its opposite for the other class, because the two probabilities add up to 1. The factor
``p (1 - p) / 1024`` is the same for all channels, and normalising the heat map removes it, so the graph omits it. A
heat map stays defined even if a probability is 1 in float32 and its gradient vanishes.
"""

from collections.abc import Iterator

import numpy as np

from bsbatch.geometry import CAM_ROWS
from bsbatch_build import toolchain
from bsbatch_build.export.onnx_types import GraphProto, ModelProto, NodeProto, TensorProto
from bsbatch_build.network.network import CLASSES

CAM = "cam"
"""The output, and the prefix of the names of its nodes and initialisers."""
FEATURES = "block5_conv3/Relu"
SIDE = CAM_ROWS
"""Rows and columns of the features of a 512 x 512 image."""
HEAD = ("MaxPool", "GlobalAveragePool", "Squeeze", "MatMul", "Add", "Relu", "MatMul", "Add", "Softmax")
_OPTIONAL = "Add"
"""A bias of zeros has no node."""


def add_heat_map(model: ModelProto) -> bool:
    """Add the output ``cam`` to a graph if the gradient of its head is known.

    ``cam (N, 32, 32) float32`` is signed: its positive part is the Grad-CAM heat map for metastasis, the positive part
    of its negative that for no metastasis. The threshold of a run, which the graph does not know, decides which class
    was predicted. The output consists of plain operators and reuses the weights of the graph.

    Parameters
    ----------
    model
        See `bsbatch_build.export.convert.to_onnx`; changed in place.

    Returns
    -------
    bool
        False if the head is a different one; the graph is then unchanged.
    """
    graph = model.graph
    head = _find_head(graph)
    if head is None:
        return False
    hidden, kernel, scores = head
    channels = next(tensor.dims[0] for tensor in graph.initializer if tensor.name == kernel)
    graph.initializer.extend(_constants(channels))
    graph.node.extend(_nodes(hidden, kernel, scores))
    helper, float32 = toolchain.package("onnx.helper"), toolchain.package("onnx").TensorProto.FLOAT
    graph.output.append(helper.make_tensor_value_info(CAM, float32, ("N", SIDE, SIDE)))
    return True


def _find_head(graph: GraphProto) -> tuple[str, str, str] | None:
    """Names of the hidden activation, of its kernel and of the scores' kernel; None if the head is not the paper's."""
    chain = list(_walk_from_features(graph))
    wanted = [kind for kind in HEAD if kind != _OPTIONAL]
    if [node.op_type for node in chain if node.op_type != _OPTIONAL] != wanted:
        return None
    if not _is_in_order([node.op_type for node in chain]) or chain[-1].output[0] != graph.output[0].name:
        return None
    first, second = (node for node in chain if node.op_type == "MatMul")
    hidden = next(node.output[0] for node in chain if node.op_type == "Relu")
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    classes = shapes.get(second.input[1], ())[1:]
    return (hidden, first.input[1], second.input[1]) if classes == (CLASSES,) else None


def _walk_from_features(graph: GraphProto) -> Iterator[NodeProto]:
    """Yield the nodes that follow the features, as long as each tensor has exactly one reader."""
    name = FEATURES
    while len(readers := [node for node in graph.node if name in node.input]) == 1:
        yield readers[0]
        name = readers[0].output[0]


def _is_in_order(kinds: list[str]) -> bool:
    """True if the operators follow the order of the head; biases may be missing."""
    rest = iter(HEAD)
    return all(kind in rest for kind in kinds)


def _constants(channels: int) -> list[TensorProto]:
    from_array = toolchain.package("onnx.numpy_helper").from_array
    values = {
        "classes": np.asarray([[-1, 1]], np.float32),
        "row": np.asarray([-1, 1, channels], np.int64),
        "positions": np.asarray([0, 0, SIDE * SIDE], np.int64),
        "map": np.asarray([-1, SIDE, SIDE], np.int64),
    }
    return [from_array(array, f"{CAM}/{name}") for name, array in values.items()]


def _nodes(hidden: str, kernel: str, scores: str) -> list[NodeProto]:
    """Nodes of the heat map, from the names of the hidden activation, of its kernel and of the scores' kernel."""
    nodes: list[NodeProto] = []

    def add(kind: str, inputs: list[str], name: str, **attributes: int) -> str:
        nodes.append(toolchain.package("onnx.helper").make_node(kind, inputs, [name], name, **attributes))
        return name

    direction = add("Gemm", [f"{CAM}/classes", scores], f"{CAM}/Direction", transB=1)
    is_active = add("Sign", [hidden], f"{CAM}/Sign")
    gradient = add("Mul", [is_active, direction], f"{CAM}/Mul")
    weights = add("Gemm", [gradient, kernel], f"{CAM}/Weights", transB=1)
    row = add("Reshape", [weights, f"{CAM}/row"], f"{CAM}/Row")
    features = add("Reshape", [FEATURES, f"{CAM}/positions"], f"{CAM}/Positions")
    product = add("MatMul", [row, features], f"{CAM}/MatMul")
    nodes.append(
        toolchain.package("onnx.helper").make_node("Reshape", [product, f"{CAM}/map"], [CAM], f"{CAM}/Reshape")
    )
    return nodes
