"""Splitting a graph into its leading convolutions and the rest."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession
from tests.graphs import with_float16_weights

from bsbatch.models.directory import GRAPH
from bsbatch.models.onnx.trunk import split


@pytest.fixture
def graph(twin: Path) -> ModelProto:
    return onnx.load(twin / GRAPH)


def node_of(graph: ModelProto, kind: str, place: int = 0) -> NodeProto:
    found: list[NodeProto] = [node for node in graph.graph.node if node.op_type == kind]
    return found[place]


@pytest.mark.parametrize("change", [lambda graph: graph, with_float16_weights], ids=["float32", "float16"])
def test_the_head_computes_from_the_features_the_outputs_of_the_whole_graph(
    graph: ModelProto, change: Callable[[ModelProto], ModelProto]
) -> None:
    whole = change(graph)
    found = split(whole.SerializeToString(), 512, 512)
    head = onnx.load_from_string(found.head)
    onnx.checker.check_model(head, full_check=True)
    exposed = ModelProto.FromString(whole.SerializeToString())
    exposed.graph.output.append(helper.make_tensor_value_info(found.features, TensorProto.FLOAT, None))
    images = np.random.default_rng(0).random((2, 1, 512, 512), np.float32)
    names = [output.name for output in whole.graph.output]

    *expected, features = _session(exposed).run([*names, found.features], {"image": images})

    for actual, wanted in zip(_session(head).run(names, {found.features: features}), expected, strict=True):
        np.testing.assert_array_equal(actual, wanted)
    read = {name for node in head.graph.node for name in node.input}
    assert {tensor.name for tensor in head.graph.initializer} <= read


def test_the_arrays_are_the_weights_of_the_graph(graph: ModelProto) -> None:
    found = split(graph.SerializeToString(), 512, 512)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    nodes = [node for node in graph.graph.node if node.op_type == "Conv"]

    assert len(found.trunk) == len(nodes) == 13
    for layer, node in zip(found.trunk, nodes, strict=True):
        np.testing.assert_array_equal(layer.kernels, stored[node.input[1]])
        np.testing.assert_array_equal(layer.bias, stored[node.input[2]])
    assert [place for place, layer in enumerate(found.trunk) if layer.is_pooled] == [1, 3, 6, 9]


def set_attribute(node: NodeProto, name: str, value: object) -> None:
    others = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend([*others, helper.make_attribute(name, value)])


def test_the_chain_ends_before_a_convolution_of_another_kind(graph: ModelProto) -> None:
    set_attribute(node_of(graph, "Conv", 5), "dilations", [2, 2])

    found = split(graph.SerializeToString(), 512, 512)

    assert len(found.trunk) == 5
    assert not found.trunk[-1].is_pooled
    assert len([node for node in onnx.load_from_string(found.head).graph.node if node.op_type == "Conv"]) == 8


def _without_relu(graph: ModelProto) -> None:
    node_of(graph, "Relu").op_type = "Sigmoid"


def _with_stride(graph: ModelProto) -> None:
    set_attribute(node_of(graph, "Conv"), "strides", [2, 2])


def _without_bias(graph: ModelProto) -> None:
    del node_of(graph, "Conv").input[2:]


def _without_padding(graph: ModelProto) -> None:
    set_attribute(node_of(graph, "Conv"), "pads", [0, 0, 0, 0])


def _with_two_inputs(graph: ModelProto) -> None:
    graph.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, (1,)))


@pytest.mark.parametrize("change", [_without_relu, _with_stride, _without_bias, _without_padding, _with_two_inputs])
def test_a_graph_that_begins_differently_is_refused(graph: ModelProto, change: Callable[[ModelProto], None]) -> None:
    change(graph)
    with pytest.raises(ValueError, match="does not begin with"):
        split(graph.SerializeToString(), 512, 512)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_graph_that_is_cut_off_is_refused(graph: ModelProto, share: float) -> None:
    data = graph.SerializeToString()
    with pytest.raises(ValueError, match="does not begin with"):
        split(data[: int(share * len(data))], 512, 512)


@pytest.mark.parametrize("data", [b"no graph", b"\xff" * 40, bytes(40)])
def test_bytes_that_are_no_graph_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="does not begin with"):
        split(data, 512, 512)


def _session(graph: ModelProto) -> InferenceSession:
    return InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
