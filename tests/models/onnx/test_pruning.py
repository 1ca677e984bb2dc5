from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnxruntime import InferenceSession

from bsbatch.models.directory import GRAPH
from bsbatch.models.onnx.pruning import remove_output


@pytest.fixture
def graph(twin: Path) -> bytes:
    return (twin / GRAPH).read_bytes()


def test_the_output_is_removed_with_the_nodes_that_serve_it_alone(graph: bytes) -> None:
    whole, pruned = onnx.load_from_string(graph), onnx.load_from_string(remove_output(graph, "cam"))

    onnx.checker.check_model(pruned, full_check=True)
    assert [output.name for output in pruned.graph.output] == ["probabilities", "distance"]
    remaining = [node.name for node in whole.graph.node if not node.name.startswith("cam/")]
    assert [node.name for node in pruned.graph.node] == remaining
    assert len(remaining) < len(whole.graph.node)
    read = {name for node in pruned.graph.node for name in node.input}
    assert {tensor.name for tensor in pruned.graph.initializer} <= read


def test_the_remaining_fields_keep_their_bytes(graph: bytes) -> None:
    whole = onnx.load_from_string(graph)
    for field in (whole.graph.node, whole.graph.initializer, whole.graph.output):
        for item in [item for item in field if item.name.split("/")[0] == "cam"]:
            field.remove(item)

    assert remove_output(graph, "cam") == whole.SerializeToString(deterministic=True)


def test_probabilities_have_the_same_bits(graph: bytes) -> None:
    images = np.random.default_rng(0).random((2, 1, 512, 512), np.float32)
    sessions = [InferenceSession(it, providers=["CPUExecutionProvider"]) for it in (graph, remove_output(graph, "cam"))]

    whole, pruned = (session.run(["probabilities"], {"image": images})[0] for session in sessions)

    np.testing.assert_array_equal(pruned, whole)


def test_a_graph_without_the_output_is_left_as_it_is(graph: bytes) -> None:
    assert remove_output(graph, "ca") == graph


@pytest.mark.parametrize("cells", [1, 40, 5000])
def test_fields_of_any_length_are_copied(cells: int) -> None:
    """Lengths of one, two and three bytes."""
    weights = numpy_helper.from_array(np.arange(cells, dtype=np.float32), "weights")
    node = helper.make_node("Identity", ["weights"], ["out"])
    value = helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, (cells,))
    model = helper.make_model(helper.make_graph([node], "small", [], [value], [weights]))

    assert remove_output(model.SerializeToString(), "cam") == model.SerializeToString()


@pytest.mark.parametrize("length", [1, 2, 100])
def test_a_file_that_was_cut_is_an_error_or_no_graph(length: int, graph: bytes) -> None:
    with pytest.raises((ValueError, KeyError)):
        remove_output(b"\xff" * length, "cam")
    assert graph
