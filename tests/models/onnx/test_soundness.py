from typing import Any

import pytest
from onnx import NodeProto, helper
from tests.graphs import SOFTMAX, graph_of

from bsbatch.models.onnx.soundness import find_fault
from bsbatch.models.onnx.trunk import split
from bsbatch.models.onnx.wire import fields, read_varint

CONVOLUTION: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}


def fault_of(graph: bytes, image: str = "image", *outputs: str) -> str | None:
    return find_fault(graph, image, outputs or ("probabilities",))


def node(kind: str, inputs: str, output: str) -> NodeProto:
    return helper.make_node(kind, inputs.split(), [output], **(CONVOLUTION if kind == "Conv" else {}))


def test_a_sound_graph_has_no_fault() -> None:
    assert fault_of(graph_of(SOFTMAX)) is None
    assert fault_of(graph_of(SOFTMAX[::-1])) is None  # in any order


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Relu", "a", "a")],
        [node("Add", "a image", "b"), node("Relu", "b", "a")],
        [node("Relu", f"{number}", f"{(number + 1) % 9}") for number in range(9)],
    ],
)
def test_a_cycle_is_a_fault_wherever_it_is(nodes: list[NodeProto]) -> None:
    assert fault_of(graph_of([*SOFTMAX, *nodes])) == "its nodes form a cycle"


def test_a_chain_of_convolutions_that_never_ends_is_no_trunk() -> None:
    circle = [
        node("Conv", "image w b", "c"),
        node("Relu", "c", "d"),
        node("Conv", "d w b", "e"),
        node("Relu", "e", "image"),
    ]
    with pytest.raises(ValueError, match="does not begin"):
        split(graph_of(circle), 512, 512)


def test_wrong_names_are_faults_that_name_them() -> None:
    graph = graph_of(SOFTMAX)
    assert "no input 'picture'" in str(fault_of(graph, "picture"))
    assert "no output 'cam'" in str(fault_of(graph, "image", "probabilities", "cam"))
    two = graph_of(SOFTMAX, {"image": ["N", 1, 512, 512], "age": ["N", 1]})
    assert "further input 'age'" in str(fault_of(two))
    assert len(str(fault_of(graph, "x" * 10_000))) < 200


@pytest.mark.parametrize("junk", [b"", b"graph", b"\x00" * 99, b"\x3a\xff", b"\x3a\x80" * 50, graph_of(SOFTMAX)[:40]])
def test_bytes_that_hold_no_graph_are_left_to_the_runtime_or_refused(junk: bytes) -> None:
    fault = fault_of(junk)
    assert fault is None or "no input" in fault


def test_a_number_that_never_ends_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="within a number"):
        read_varint(memoryview(b"\x80" * 1_000_000), 0)
    with pytest.raises(ValueError, match="within a number"):
        list(fields(memoryview(b"\x80" * 1_000_000)))
