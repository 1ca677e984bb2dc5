"""Converts a Keras network to an ONNX graph of one input channel whose nodes are named after the layers."""

import re

import numpy as np

from bsbatch.errors import ModelError
from bsbatch_build import toolchain
from bsbatch_build.checks.export_check import input_channels
from bsbatch_build.export.onnx_types import GraphProto, ModelProto, NodeProto, TensorProto
from bsbatch_build.network.network import CHANNELS, SIDE
from bsbatch_build.toolchain import KerasModel, Tensor

OPSET = 17
"""The newest in which tf2onnx 1.17 writes the mean as GlobalAveragePool; in 18 a Transpose stays before it."""
INPUT = "image"
OUTPUT = "probabilities"
LAYER = re.compile(r"/(?P<layer>block\d_conv\d|block\d_pool|gap|fc1|predictions)(_\d+)?/")
"""A layer in the name of a node, for example ``vgg16_1/block5_conv3_1/Relu``; the numbers are Keras' call counters."""


def to_onnx(network: KerasModel) -> ModelProto:
    """Convert the paper's network to an ONNX graph of one input channel.

    The paper repeats the one channel three times, so the three input channels of the first kernel are summed: the same
    output from a third of the bytes. Nodes are called ``{layer}/{operator}``, and so are their output tensors
    (``block5_conv3/Relu`` is the activation that Grad-CAM uses); initialisers are ``{layer}/kernel`` and
    ``{layer}/bias``.

    Parameters
    ----------
    network
        See `bsbatch_build.network.network.build`.

    Returns
    -------
    onnx.ModelProto
        ``image (N, 1, 512, 512) float32`` to ``probabilities (N, 2) float32``, operator set 17.

    Raises
    ------
    ModelError
        The graph from tf2onnx is not valid ONNX.
    """
    model = _convert(network, CHANNELS)
    _sum_input_channels(model.graph)
    _name_after_layers(model.graph)
    _describe(model)
    _check(model)
    return model


def other_to_onnx(network: KerasModel) -> ModelProto:
    """Convert any Keras model to an ONNX graph of one input channel; tf2onnx names its nodes.

    Parameters
    ----------
    network
        ``keras.Model``, ``(N, 512, 512, 1 or 3)`` to ``(N, 2)``; three channels are three copies of the one.

    Returns
    -------
    onnx.ModelProto
        As of `to_onnx`.

    Raises
    ------
    ModelError
        The graph from tf2onnx is not valid ONNX.
    """
    model = _convert(network, 1)
    _describe(model)
    _check(model)
    return model


def to_bytes(model: ModelProto) -> bytes:
    """Serialise an ONNX model; equal models give equal bytes."""
    return model.SerializeToString(deterministic=True)


def store_as_half(model: ModelProto) -> ModelProto:
    """Return a copy with the weights stored as float16: half the bytes, the arithmetic stays float32.

    Each weight keeps its name. A Cast ``{layer}/kernel/Cast`` behind it gives the layer float32; every runtime computes
    the Cast once, while it loads the graph.

    Parameters
    ----------
    model
        See `to_onnx`.

    Raises
    ------
    ModelError
        A weight is too large for float16, 65,504.
    """
    halved: ModelProto = toolchain.package("onnx").ModelProto()
    halved.CopyFrom(model)
    casts = {
        tensor.name: _halve(tensor) for tensor in halved.graph.initializer if len(tensor.dims) and _is_float(tensor)
    }
    for node in halved.graph.node:
        node.input[:] = [casts[name].output[0] if name in casts else name for name in node.input]
    nodes = [*casts.values(), *halved.graph.node]
    del halved.graph.node[:]
    halved.graph.node.extend(nodes)
    _check(halved)
    return halved


def round_to_half(tensor: TensorProto) -> None:
    """Round an initialiser to float16, in place.

    Raises
    ------
    ModelError
        A weight is too large for float16, 65,504.
    """
    helper = toolchain.package("onnx.numpy_helper")
    with np.errstate(over="ignore"):
        rounded = helper.to_array(tensor).astype(np.float16)
    if not np.isfinite(rounded).all():
        raise ModelError(f"a weight of {tensor.name} is beyond the 65,504 of float16: store the model as fp32")
    tensor.CopyFrom(helper.from_array(rounded, tensor.name))


def cast_to_float(name: str) -> NodeProto:
    """Make the node ``{name}/Cast``, which casts a float16 tensor to a float32 tensor of the node's name."""
    onnx, cast = toolchain.package("onnx"), f"{name}/Cast"
    node: NodeProto = toolchain.package("onnx.helper").make_node(
        "Cast", [name], [cast], cast, to=onnx.TensorProto.FLOAT
    )
    return node


def _is_float(tensor: TensorProto) -> bool:
    return bool(tensor.data_type == toolchain.package("onnx").TensorProto.FLOAT)


def _halve(tensor: TensorProto) -> NodeProto:
    """Round a tensor in place and return the node that casts it back."""
    round_to_half(tensor)
    return cast_to_float(tensor.name)


def _convert(network: KerasModel, channels: int) -> ModelProto:
    """Convert to a graph of this many input channels, each repeated as often as the network needs."""
    tensorflow = toolchain.tensorflow()
    signature = [tensorflow.TensorSpec((None, SIDE, SIDE, channels), tensorflow.float32, name=INPUT)]
    copies = input_channels(network) // channels

    def forward(image: Tensor) -> dict[str, Tensor]:
        repeated = tensorflow.concat([image] * copies, axis=3) if copies > 1 else image
        return {OUTPUT: network(repeated, training=False)}

    traced = tensorflow.function(forward, input_signature=signature, autograph=False)
    convert = toolchain.package("tf2onnx").convert.from_function
    model: ModelProto
    model, _ = convert(traced, input_signature=signature, opset=OPSET, inputs_as_nchw=[INPUT])
    return model


def _sum_input_channels(graph: GraphProto) -> None:
    helper = toolchain.package("onnx.numpy_helper")
    kernel_name = next(node.input[1] for node in graph.node if node.input[0] == INPUT)
    kernel = next(tensor for tensor in graph.initializer if tensor.name == kernel_name)
    summed = helper.to_array(kernel).sum(axis=1, keepdims=True, dtype=np.float64)
    kernel.CopyFrom(helper.from_array(summed.astype(np.float32), kernel_name))


def _name_after_layers(graph: GraphProto) -> None:
    """Replace tf2onnx's names, which count the conversions of the process, by names that depend on the network only."""
    unchanged = {INPUT, OUTPUT}
    ranks = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    names: dict[str, str] = {}
    for node in graph.node:
        layer = _layer_of(node.name)
        for name in set(node.input) & ranks.keys():
            names.setdefault(name, f"{layer}/{_role_of(node, ranks[name])}")
        node.name = f"{layer}/{node.op_type}"
        names |= {name: node.name for name in node.output if name not in unchanged}
    _rename(graph, names)


def _layer_of(name: str) -> str:
    match = LAYER.search(name)
    if match is None:
        raise ModelError(f"tf2onnx made a node {name} of no layer of the network: use the versions in constraints.txt")
    return match["layer"]


def _role_of(node: NodeProto, rank: int) -> str:
    if node.op_type == "Squeeze":
        return "axes"
    return "kernel" if rank > 1 else "bias"


def _rename(graph: GraphProto, names: dict[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for tensor in graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)


def _describe(model: ModelProto) -> None:
    """Write the shapes of input and output; remove unused operator sets and a call counter of TensorFlow."""
    helper = toolchain.package("onnx.helper")
    float32 = toolchain.package("onnx").TensorProto.FLOAT
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info(INPUT, float32, ("N", 1, SIDE, SIDE)))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(OUTPUT, float32, ("N", 2)))
    model.graph.name, model.graph.doc_string = "vgg16", ""
    del model.opset_import[:]
    model.opset_import.append(helper.make_operatorsetid("", OPSET))


def _check(model: ModelProto) -> None:
    checker = toolchain.package("onnx.checker")
    try:
        checker.check_model(model, full_check=True)
    except (checker.ValidationError, toolchain.package("onnx.shape_inference").InferenceError) as error:
        raise ModelError(f"tf2onnx made no valid ONNX ({error}): use the versions in constraints.txt") from error
