"""Rebuilds the Keras network from a model directory, so that backends can be compared with Keras anywhere."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import ModelError
from bsbatch_build import toolchain
from bsbatch_build.network.network import BLOCKS, CHANNELS, DENSE, NetworkSettings, build
from bsbatch_build.toolchain import KerasLayer, KerasModel

Weights = Mapping[str, NDArray[np.float32]]
"""``{layer}/kernel`` and ``{layer}/bias``, as named by `bsbatch_build.export.convert`, in the layout of ONNX."""

_FIRST = "block1_conv1"
_CONVOLUTION, _DENSE = 4, 2
"""Number of axes of a kernel."""


def restore(graph: Path) -> KerasModel:
    """Build the network of `bsbatch_build.network.network.build` with the weights of an exported graph.

    The graph's first kernel is the sum over three equal input channels. Each channel of the network gets a third of it,
    which is the same function of three equal channels. Weights may be stored as float16, each followed by a Cast to
    float32.

    Parameters
    ----------
    graph
        ``model.onnx`` of a model directory.

    Returns
    -------
    keras.Model
        ``(N, 512, 512, 3) float32`` to ``(N, 2) float32``, of the width that follows from the shapes.

    Raises
    ------
    ModelError
        The graph cannot be read, or its weights are not those of the paper's network at one width.
    """
    weights = _weights_of(graph)
    network = build(NetworkSettings(width=_width_of(weights, graph)))
    for layer in network.layers:
        if layer.weights:
            layer.set_weights(_layer_weights(layer, weights, graph))
    return network


def _weights_of(graph: Path) -> Weights:
    helper = toolchain.package("onnx.numpy_helper")
    try:
        model = toolchain.package("onnx").load(graph)
        return {tensor.name: helper.to_array(tensor).astype(np.float32) for tensor in model.graph.initializer}
    except Exception as error:  # protobuf's errors, and those of onnx for external data, share no public base class
        raise ModelError(
            f"{graph} is no ONNX graph that can be read ({type(error).__name__}): export it again"
        ) from error


def _width_of(weights: Weights, graph: Path) -> float:
    """Find the factor on the channels that explains the output channels of every layer.

    A layer of ``round(full * width)`` channels confines the width to an interval. The result is the middle of the
    intersection of all intervals.
    """
    low, high = 0.0, np.inf
    for name, full in _channels():
        channels = _kernel(weights, name, graph).shape[-1]
        high = min(high, (channels + 0.5) / full)
        low = max(low, (channels - 0.5) / full) if channels > 1 else low
    if not low < high:
        raise ModelError(f"{graph} is not the paper's network at any --width: its layers do not fit one another")
    return (low + high) / 2


def _channels() -> Iterator[tuple[str, int]]:
    """Yield name and channels, at width 1.0, of every layer that the width scales."""
    for number, (convolutions, channels) in enumerate(BLOCKS, start=1):
        for index in range(1, convolutions + 1):
            yield f"block{number}_conv{index}", channels
    yield "fc1", DENSE


def _kernel(weights: Weights, layer: str, graph: Path) -> NDArray[np.float32]:
    """Kernel with Keras' axes: rows, columns, inputs, outputs of a convolution; inputs, outputs of a dense layer."""
    is_convolution = layer.startswith("block")
    kernel = weights.get(f"{layer}/kernel")
    if kernel is None or kernel.ndim != (_CONVOLUTION if is_convolution else _DENSE):
        raise ModelError(f"{graph} has no weights {layer}/kernel: export the model with this bsbatch-build")
    return kernel.transpose(2, 3, 1, 0) if is_convolution else kernel


def _layer_weights(layer: KerasLayer, weights: Weights, graph: Path) -> list[NDArray[np.float32]]:
    """Kernel and bias in Keras' layout and order."""
    kernel = _kernel(weights, layer.name, graph)
    if layer.name == _FIRST:
        kernel = np.repeat(kernel / CHANNELS, CHANNELS, axis=2)
    shape, bias_shape = (weight.shape for weight in layer.get_weights())
    # tf2onnx omits a bias of zeros
    bias = weights.get(f"{layer.name}/bias", np.zeros(bias_shape, np.float32))
    if kernel.shape != shape or bias.shape != bias_shape:
        raise ModelError(f"{graph} is not the paper's network: {layer.name} is {kernel.shape}, not {shape}")
    return [kernel, bias]
