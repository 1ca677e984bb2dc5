"""Changes the shape of trained networks and not what they compute: batch normalisation folded in, channels added,
several networks side by side in one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import ModelError
from bsbatch_build.network.network import NORM, NetworkSettings, build, convolution_names

Array = NDArray[np.float32]
_SHARES = (0.5, 1.5)
"""Range from which the shares of a channel's copies are drawn, before they are made to add up to 1."""

_LEAST = 1e-6
_KERNEL_AXES = 4
"""Of a convolution: rows, columns, channels read, channels made."""


def fold(network: Any, settings: NetworkSettings) -> Any:
    """Fold batch normalisation into the convolutions.

    A convolution with kernel ``k`` and bias ``b`` and the normalisation behind it are one convolution with kernel
    ``k s`` and bias ``(b - mean) s + beta``, where ``s = gamma / sqrt(variance + epsilon)``.

    Parameters
    ----------
    network
        `bsbatch_build.network.network.build` with ``batch_norm``, of any input size; it may have further outputs.
    settings
        With the width of that network.

    Returns
    -------
    keras.Model
        The paper's plain network with the same output.
    """
    folded = build(settings)
    for layer in folded.layers:
        if layer.weights:
            layer.set_weights(_folded(network, layer.name))
    return folded


def _folded(network: Any, name: str) -> list[Array]:
    kernel, bias = network.get_layer(name).get_weights()
    if name + NORM not in {layer.name for layer in network.layers}:
        return [kernel, bias]
    norm = network.get_layer(name + NORM)
    gamma, beta, mean, variance = (np.asarray(values, np.float64) for values in norm.get_weights())
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return [(kernel * scale).astype(np.float32), ((bias - mean) * scale + beta).astype(np.float32)]


def move_threshold(network: Any, threshold: float) -> None:
    """Shift the bias of the last layer until what had a probability of ``threshold`` has 0.5.

    With two classes softmax is the logistic function of the difference of both logits, so the order of examinations
    stays, and with it the ROC curve.

    Parameters
    ----------
    network
        `bsbatch_build.network.network.build`; changed in place.
    threshold
        In [0, 1]; what lies closer to either end than 1e-6 is taken for that.
    """
    last = network.get_layer("predictions")
    kernel, bias = last.get_weights()
    within = np.clip(threshold, _LEAST, 1.0 - _LEAST)
    bias[1] -= np.log(within / (1.0 - within))
    last.set_weights([kernel, bias])


def widen(narrow: Any, settings: NetworkSettings) -> Any:
    """Copy channels until the network has the width of `settings`, without changing what it computes.

    Net2WiderNet (Chen, Goodfellow and Shlens, ICLR 2016): each new channel is a copy of an old one, and the weights
    that read an old channel are divided among its copies. They are divided into unequal random shares, so that the
    copies get different gradients and part ways without noise.

    Parameters
    ----------
    narrow
        `bsbatch_build.network.network.build` at a smaller width.
    settings
        The width wanted, and the seed of what is drawn.

    Returns
    -------
    keras.Model
        The network at that width; its output differs from that of `narrow` by rounding only.

    Raises
    ------
    ModelError
        `narrow` is wider, or is not the paper's network.
    """
    wide = build(settings)
    rng = np.random.default_rng(settings.seed)
    origin, count = np.arange(3), 3
    for name in (*convolution_names(), "fc1", "predictions"):
        kernel, bias = _weights_of(narrow, name, count)
        wanted = wide.get_layer(name).get_weights()[1].size
        divided = kernel[..., origin, :] * _shares(rng, origin, count)[:, np.newaxis]
        count = bias.size
        origin = _origins(count, wanted)
        wide.get_layer(name).set_weights([divided[..., origin].astype(np.float32), bias[origin]])
    return wide


def mirror(network: Any, settings: NetworkSettings) -> Any:
    """Make the network that gives for an image what `network` gives for its mirror image.

    Each kernel is mirrored. Convolutions with stride 1 and poolings of an even width see the same either way, and the
    average over the image knows no sides.

    Parameters
    ----------
    network
        `bsbatch_build.network.network.build`.
    settings
        With the width of that network.

    Returns
    -------
    keras.Model
        A network of the same size.
    """
    mirrored = build(settings)
    for name in (*convolution_names(), "fc1", "predictions"):
        kernel, bias = network.get_layer(name).get_weights()
        mirrored.get_layer(name).set_weights([kernel[:, ::-1] if kernel.ndim == _KERNEL_AXES else kernel, bias])
    return mirrored


def join(members: Sequence[Any], settings: NetworkSettings) -> Any:
    """Put networks side by side into one of the width of `settings`, whose logits are the mean of theirs.

    An ensemble (Hansen and Salamon, IEEE PAMI 1990;12:993-1001) for the price of one wide network: each member has
    channels of its own and reads no others. Channels that are left over are zero.

    Parameters
    ----------
    members
        At least one `bsbatch_build.network.network.build`; their channels add up to those of `settings`, or less.
    settings
        The width wanted.

    Returns
    -------
    keras.Model
        The network at that width.
    """
    joined = build(settings)
    for name in (*convolution_names(), "fc1", "predictions"):
        layer = joined.get_layer(name)
        kernels, biases = zip(*(member.get_layer(name).get_weights() for member in members), strict=True)
        kernel, bias = map(np.zeros_like, layer.get_weights())
        reads = [own.shape[-2] * (name != "block1_conv1") for own in kernels]
        makes = [own.size * (name != "predictions") for own in biases]
        for own_kernel, own_bias, row, column in zip(kernels, biases, _starts(reads), _starts(makes), strict=True):
            rows, columns = own_kernel.shape[-2:]
            kernel[..., row : row + rows, column : column + columns] = own_kernel
            bias[column : column + columns] += own_bias
        share = len(members) if name == "predictions" else 1
        layer.set_weights([kernel / share, bias / share])
    return joined


def _starts(sizes: Sequence[int]) -> list[int]:
    return [sum(sizes[:place]) for place in range(len(sizes))]


def _weights_of(network: Any, name: str, inputs: int) -> tuple[Array, Array]:
    try:
        kernel, bias = network.get_layer(name).get_weights()
    except ValueError as error:
        raise ModelError(f"the network to widen has no layer {name} with kernel and bias: it is not VGG16") from error
    if kernel.shape[-2] != inputs:
        raise ModelError(f"layer {name} of the network to widen reads {kernel.shape[-2]} channels, not {inputs}")
    return kernel, bias


def _origins(count: int, wanted: int) -> NDArray[np.intp]:
    """For each of the wanted channels the old one that it copies, all of them about equally often."""
    if wanted < count:
        raise ModelError(
            f"a network of {count} channels cannot be widened to {wanted}: give a larger --width, or join fewer"
        )
    return np.arange(wanted) % count


def _shares(rng: np.random.Generator, origin: NDArray[np.intp], count: int) -> NDArray[np.float64]:
    """For each channel its share of the weights that read its origin; those of one origin add up to 1."""
    drawn = rng.uniform(*_SHARES, len(origin))
    return np.asarray(drawn / np.bincount(origin, drawn, count)[origin])
