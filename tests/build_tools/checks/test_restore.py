"""The Keras network is rebuilt from the weights of a model directory."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper
from tests.build_tools.graphs import Change, replace, store_as_float16, tensor_of, write_graph

from bsbatch.errors import ModelError
from bsbatch_build.checks.export_check import check_graph, keras_probabilities, random_images
from bsbatch_build.checks.restore import restore
from bsbatch_build.export.convert import to_onnx
from bsbatch_build.network import weights
from bsbatch_build.network.network import NetworkSettings

TWIN = NetworkSettings(seed=1, width=0.0625)


@pytest.fixture(scope="module")
def network() -> Any:
    return weights.load(TWIN)


@pytest.fixture(scope="module")
def model(network: Any) -> Any:
    return to_onnx(network)


def test_the_restored_network_has_the_weights_it_was_exported_with(network: Any, model: Any, tmp_path: Path) -> None:
    restored = restore(write_graph(tmp_path / "model.onnx", model))
    first, *others = network.get_weights()
    restored_first, *restored_others = restored.get_weights()
    for expected, actual in zip(others, restored_others, strict=True):
        np.testing.assert_array_equal(actual, expected)
    np.testing.assert_allclose(restored_first.sum(axis=2), first.sum(axis=2), atol=1e-6)
    np.testing.assert_array_equal(restored_first[:, :, 0], restored_first[:, :, 2])


def test_the_restored_network_gives_the_probabilities_of_the_one_exported(
    network: Any, model: Any, tmp_path: Path
) -> None:
    restored = restore(write_graph(tmp_path / "model.onnx", model))
    for image in random_images(seed=5):
        expected, actual = keras_probabilities(network, image), keras_probabilities(restored, image)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)


def test_weights_stored_as_float16_are_read_as_the_float32_of_the_graph(model: Any, tmp_path: Path) -> None:
    path = write_graph(tmp_path / "model.onnx", model, store_as_float16)
    stored = onnx.load(path)
    onnx.checker.check_model(stored, full_check=True)
    assert {node.input[1] for node in stored.graph.node if node.op_type == "Conv"} >= {"block1_conv1/kernel/Cast"}
    assert tensor_of(stored.graph, "block1_conv1/kernel").data_type == TensorProto.FLOAT16

    restored = restore(path)
    check_graph(path.read_bytes(), restored, seed=0)
    kernel = numpy_helper.to_array(tensor_of(stored.graph, "block3_conv2/kernel")).astype(np.float32)
    np.testing.assert_array_equal(restored.get_layer("block3_conv2").get_weights()[0], kernel.transpose(2, 3, 1, 0))


def test_a_network_of_the_unrounded_weights_shows_the_rounding_to_float16(
    network: Any, model: Any, tmp_path: Path
) -> None:
    session = onnxruntime.InferenceSession(
        write_graph(tmp_path / "model.onnx", model, store_as_float16), providers=["CPUExecutionProvider"]
    )
    images = random_images(seed=5)
    (actual,) = session.run(None, {"image": images})
    expected = np.concatenate([keras_probabilities(network, image) for image in images])
    assert 0 < np.abs(actual - expected).max() < 5e-3


@pytest.mark.parametrize("width", [0.03, 0.0264, 0.1, 0.3])
def test_any_width_follows_from_the_shapes(width: float, tmp_path: Path) -> None:
    narrow = weights.load(NetworkSettings(seed=3, width=width))
    restored = restore(write_graph(tmp_path / "model.onnx", to_onnx(narrow)))
    assert [weight.shape for weight in restored.get_weights()] == [weight.shape for weight in narrow.get_weights()]


def test_a_bias_that_is_left_out_is_zero(network: Any, model: Any, tmp_path: Path) -> None:
    def leave_out(graph: Any) -> None:
        graph.initializer.remove(tensor_of(graph, "block2_conv1/bias"))

    restored = restore(write_graph(tmp_path / "model.onnx", model, leave_out))
    kernel, bias = restored.get_layer("block2_conv1").get_weights()
    np.testing.assert_array_equal(kernel, network.get_layer("block2_conv1").get_weights()[0])
    assert not bias.any()


def test_a_network_whose_biases_are_zero_is_restored(tmp_path: Path) -> None:
    unbiased = weights.load(TWIN)
    unbiased.set_weights([values * (values.ndim > 1) for values in unbiased.get_weights()])
    path = write_graph(tmp_path / "model.onnx", to_onnx(unbiased))
    check_graph(path.read_bytes(), restore(path), seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda graph: graph.initializer.remove(tensor_of(graph, "block4_conv3/kernel")), "block4_conv3/kernel"),
        (lambda graph: replace(graph, "fc1/kernel", np.zeros(32, np.float32)), "fc1/kernel"),
        (lambda graph: replace(graph, "fc1/kernel", np.zeros((32, 99), np.float32)), "do not fit one another"),
        (lambda graph: replace(graph, "block2_conv1/kernel", np.zeros((8, 5, 3, 3), np.float32)), "block2_conv1 is"),
        (lambda graph: replace(graph, "block2_conv1/bias", np.zeros(3, np.float32)), "block2_conv1 is"),
    ],
)
def test_a_graph_of_another_network_is_refused(change: Change, message: str, model: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        restore(write_graph(tmp_path / "model.onnx", model, change))


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no graph at all")
    with pytest.raises(ModelError, match="export it again"):
        restore(tmp_path / "model.onnx")
