"""Grad-CAM in closed form equals that of TensorFlow's gradient tape."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from bsbatch.backends.onnxruntime import OnnxRuntimeBackend
from bsbatch.config import Effort
from bsbatch.imaging import preprocess
from bsbatch.models.directory import DEMO, Model, resolve_folder
from bsbatch_build.checks.export_check import random_images
from bsbatch_build.checks.golden import golden_examinations
from bsbatch_build.checks.restore import restore
from bsbatch_build.export.cam_head import FEATURES, add_heat_map
from bsbatch_build.export.convert import store_as_half, to_bytes, to_onnx
from bsbatch_build.network import weights
from bsbatch_build.network.network import NetworkSettings

TWIN = NetworkSettings(seed=1, width=0.0625)
TOLERANCE = 1e-4
SCANS = 4
LOW, HIGH = -1, 1
"""Sign of the graph's heat map for each class: no metastasis, metastasis."""

Maps = NDArray[np.float32]


@pytest.fixture(scope="module")
def network() -> Any:
    return weights.load(TWIN)


@pytest.fixture(scope="module")
def plain(network: Any) -> Any:
    return to_onnx(network)


@pytest.fixture
def model(plain: Any) -> Any:
    copy = onnx.ModelProto()
    copy.CopyFrom(plain)
    assert add_heat_map(copy)
    return copy


@pytest.fixture(scope="module")
def images() -> Maps:
    """Phantoms of both classes, and noise."""
    return np.concatenate([golden_examinations(SCANS, seed=0).images, random_images(seed=3)])


def run(model: Any, images: Maps) -> tuple[Maps, Maps]:
    session = onnxruntime.InferenceSession(to_bytes(model), providers=["CPUExecutionProvider"])
    probabilities, cams = session.run(["probabilities", "cam"], {"image": images})
    return probabilities, cams


def tape(network: Any, image: Maps, column: int) -> Maps:
    """Heat map of one class, see `tape_both`."""
    return tape_both(network, image)[column]


def tape_both(network: Any, image: Maps, layer: str = "block5_conv3") -> list[Maps]:
    """Grad-CAM by its definition: gradient of the probability, its mean over the positions, weighted sum, ReLU.

    The tape watches the features, not the layers below them: it would differentiate those, too, at ten times the cost.
    """
    at, keras_model = network.get_layer(layer).output, network.__class__
    features = keras_model(network.input, at)(np.repeat(image[:, :, :, np.newaxis], 3, axis=3), training=False)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(features)
        probabilities = keras_model(at, network.output)(features, training=False)
        scores = [probabilities[:, column] for column in range(2)]
    weights = [tf.reduce_mean(tape.gradient(score, features), axis=(1, 2), keepdims=True) for score in scores]
    return [np.asarray(tf.nn.relu(tf.reduce_sum(features * weight, axis=3))[0]) for weight in weights]


def normalised(cam: Maps) -> Maps:
    return np.asarray(np.maximum(cam, 0) / np.maximum(cam, 0).max())


@pytest.mark.parametrize("sign", [LOW, HIGH])
def test_maps_of_both_classes_are_those_of_the_gradient_tape(sign: int, model: Any, network: Any, images: Maps) -> None:
    _, cams = run(model, images)

    for image, cam in zip(images, cams, strict=True):
        expected = tape(network, image, column=int(sign == HIGH))
        assert 0 < np.count_nonzero(expected) < expected.size
        np.testing.assert_allclose(normalised(sign * cam), normalised(expected), rtol=0, atol=TOLERANCE)


def test_maps_of_the_shipped_model_are_those_of_the_gradient_tape() -> None:
    """Its weights in Keras' VGG16, two phantoms; the graph stores weights as float16 and computes in float32."""
    model = Model.load(resolve_folder(Path(DEMO)), preprocess.VERSION)
    network, images = restore(model.graph), golden_examinations(SCANS, seed=0).images[:2]

    with OnnxRuntimeBackend(model, Effort(), with_cams=True) as backend:
        cams = backend.infer(images).cams

    assert cams is not None
    for image, cam in zip(images, cams, strict=True):
        for sign, expected in zip((LOW, HIGH), tape_both(network, image), strict=True):
            assert 0 < np.count_nonzero(expected) < expected.size
            np.testing.assert_allclose(normalised(sign * cam), normalised(expected), rtol=0, atol=TOLERANCE)


def test_weights_stored_as_float16_give_the_maps_of_the_network_that_has_them(
    model: Any, images: Maps, tmp_path: Any
) -> None:
    halved = store_as_half(model)
    (tmp_path / "model.onnx").write_bytes(to_bytes(halved))

    _, cams = run(halved, images[:2])

    for image, cam in zip(images, cams, strict=False):
        expected = tape(restore(tmp_path / "model.onnx"), image, column=1)
        np.testing.assert_allclose(normalised(cam), normalised(expected), rtol=0, atol=TOLERANCE)


def test_a_saturated_probability_has_a_heat_map_though_its_gradient_vanishes(network: Any, images: Maps) -> None:
    """The probability is 1 in float32, so its gradient is 0; the activations before it are unchanged."""
    sure = weights.load(TWIN)
    kernel, bias = sure.get_layer("predictions").get_weights()
    sure.get_layer("predictions").set_weights([kernel, bias + np.asarray([-200, 200], np.float32)])
    model = to_onnx(sure)
    assert add_heat_map(model)

    probabilities, cams = run(model, images[:1])

    assert probabilities[0, 1] == 1.0
    assert not tape(sure, images[0], column=1).any()
    np.testing.assert_allclose(
        normalised(cams[0]), normalised(tape(network, images[0], column=1)), rtol=0, atol=TOLERANCE
    )


def test_the_graph_gets_one_output_of_plain_operators_and_no_weights_twice(plain: Any, model: Any) -> None:
    onnx.checker.check_model(model, full_check=True)
    output = model.graph.output[1].type.tensor_type.shape.dim
    added = [node for node in model.graph.node if node.name.startswith("cam/")]

    assert [value.name for value in model.graph.output] == ["probabilities", "cam"]
    assert [dimension.dim_param or dimension.dim_value for dimension in output] == ["N", 32, 32]
    assert {node.op_type for node in added} == {"Gemm", "Sign", "Mul", "Reshape", "MatMul"}
    assert len(to_bytes(model)) - len(to_bytes(plain)) < 2048


def test_probabilities_do_not_change(plain: Any, model: Any, images: Maps) -> None:
    session = onnxruntime.InferenceSession(to_bytes(plain), providers=["CPUExecutionProvider"])

    np.testing.assert_array_equal(run(model, images)[0], session.run(None, {"image": images})[0])


def test_a_network_whose_biases_are_zero_has_its_map_too(network: Any, images: Maps) -> None:
    unbiased = weights.load(TWIN)
    unbiased.set_weights([values * (values.ndim > 1) for values in network.get_weights()])
    model = to_onnx(unbiased)
    assert add_heat_map(model)

    _, cams = run(model, images[:1])

    np.testing.assert_allclose(
        normalised(cams[0]), normalised(tape(unbiased, images[0], column=1)), rtol=0, atol=TOLERANCE
    )


def other_activation(graph: Any) -> None:
    node(graph, "fc1/Relu").op_type = "Sigmoid"


def other_pooling(graph: Any) -> None:
    node(graph, "gap/GlobalAveragePool").op_type = "GlobalMaxPool"


def another_reader(graph: Any) -> None:
    graph.node.append(onnx.helper.make_node("Identity", [FEATURES], ["more"], "more"))


def no_softmax(graph: Any) -> None:
    node(graph, "predictions/Softmax").op_type = "Sigmoid"


def a_third_class(graph: Any) -> None:
    tensor = next(tensor for tensor in graph.initializer if tensor.name == "predictions/kernel")
    wider = np.zeros((tensor.dims[0], 3), np.float32)
    tensor.CopyFrom(onnx.numpy_helper.from_array(wider, tensor.name))


def node(graph: Any, name: str) -> Any:
    return next(node for node in graph.node if node.name == name)


@pytest.mark.parametrize("change", [other_activation, other_pooling, another_reader, no_softmax, a_third_class])
def test_a_head_of_unknown_gradient_gets_no_heat_map_and_is_not_changed(change: Any, plain: Any) -> None:
    copy = onnx.ModelProto()
    copy.CopyFrom(plain)
    change(copy.graph)
    before = to_bytes(copy)

    assert not add_heat_map(copy)
    assert to_bytes(copy) == before
