"""Edits of trained networks: fold batch normalisation, move the threshold, widen, mirror, join."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import ModelError
from bsbatch_build.network.network import NORM, NetworkSettings, build, convolution_names
from bsbatch_build.toolchain import Array, KerasModel

_SHARES = (0.5, 1.5)
"""Range of the random shares of a channel's copies, before they are scaled to add up to 1."""

_LEAST = 1e-6
_KERNEL_AXES = 4
"""Axes of a convolution's kernel: rows, columns, input channels, output channels."""


def fold(network: KerasModel, settings: NetworkSettings) -> KerasModel:
    """Fold batch normalisation into the convolutions.

    A convolution with kernel ``k`` and bias ``b``, followed by batch normalisation, equals one convolution with kernel
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
            layer.set_weights(_fold_layer(network, layer.name))
    return folded


def _fold_layer(network: KerasModel, name: str) -> list[Array]:
    kernel, bias = network.get_layer(name).get_weights()
    if name + NORM not in {layer.name for layer in network.layers}:
        return [kernel, bias]
    norm = network.get_layer(name + NORM)
    gamma, beta, mean, variance = (np.asarray(values, np.float64) for values in norm.get_weights())
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return [(kernel * scale).astype(np.float32), ((bias - mean) * scale + beta).astype(np.float32)]


def move_threshold(network: KerasModel, threshold: float) -> None:
    """Shift the bias of the last layer so that a probability of ``threshold`` becomes 0.5.

    With two classes softmax is the logistic function of the difference of both logits. The order of the examinations
    and the ROC curve therefore stay.

    Parameters
    ----------
    network
        `bsbatch_build.network.network.build`; changed in place.
    threshold
        In [0, 1]; clipped to [1e-6, 1 - 1e-6].
    """
    last = network.get_layer("predictions")
    kernel, bias = last.get_weights()
    within = np.clip(threshold, _LEAST, 1.0 - _LEAST)
    bias[1] -= np.log(within / (1.0 - within))
    last.set_weights([kernel, bias])


def widen(narrow: KerasModel, settings: NetworkSettings) -> KerasModel:
    """Copy channels until the network has the width of `settings`; its output stays the same.

    Net2WiderNet (Chen, Goodfellow and Shlens, ICLR 2016): each new channel is a copy of an old one, and the weights
    that read an old channel are divided among its copies. The shares are random and unequal: the copies get different
    gradients and part without added noise.

    Parameters
    ----------
    narrow
        `bsbatch_build.network.network.build` at a smaller width.
    settings
        The new width, and the seed of the random shares.

    Returns
    -------
    keras.Model
        The network at that width; its output differs from that of `narrow` only by rounding.

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


def mirror(network: KerasModel, settings: NetworkSettings) -> KerasModel:
    """Build the network whose output for an image is the output of `network` for its mirror image.

    Each kernel is mirrored. Convolutions with stride 1, poolings of an even width and the average over the image treat
    both directions alike.

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


def join(members: Sequence[KerasModel], settings: NetworkSettings) -> KerasModel:
    """Put networks side by side into one of the width of `settings`, whose logits are the mean of theirs.

    The result is an ensemble (Hansen and Salamon, IEEE PAMI 1990;12:993-1001) at the cost of one wide network: each
    member has channels of its own and reads no others. Unused channels are zero.

    Parameters
    ----------
    members
        At least one `bsbatch_build.network.network.build`; the sum of their channels must not exceed those of
        `settings`.
    settings
        The new width.

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
        inputs = [own.shape[-2] * (name != "block1_conv1") for own in kernels]
        outputs = [own.size * (name != "predictions") for own in biases]
        for own_kernel, own_bias, row, column in zip(kernels, biases, _offsets(inputs), _offsets(outputs), strict=True):
            rows, columns = own_kernel.shape[-2:]
            kernel[..., row : row + rows, column : column + columns] = own_kernel
            bias[column : column + columns] += own_bias
        share = np.float32(len(members) if name == "predictions" else 1)
        layer.set_weights([kernel / share, bias / share])
    return joined


def _offsets(sizes: Sequence[int]) -> list[int]:
    return [sum(sizes[:index]) for index in range(len(sizes))]


def _weights_of(network: KerasModel, name: str, inputs: int) -> tuple[Array, Array]:
    try:
        kernel, bias = network.get_layer(name).get_weights()
    except ValueError as error:
        raise ModelError(f"the network to widen has no layer {name} with kernel and bias: it is not VGG16") from error
    if kernel.shape[-2] != inputs:
        raise ModelError(f"layer {name} of the network to widen reads {kernel.shape[-2]} channels, not {inputs}")
    return kernel, bias


def _origins(count: int, wanted: int) -> NDArray[np.intp]:
    """Return the index of the old channel that each new channel copies; all are copied about equally often."""
    if wanted < count:
        raise ModelError(
            f"a network of {count} channels cannot be widened to {wanted}: give a larger --width, or join fewer"
        )
    return np.arange(wanted) % count


def _shares(rng: np.random.Generator, origin: NDArray[np.intp], count: int) -> NDArray[np.float64]:
    """Draw for each channel its share of the weights that read its origin; those of one origin add up to 1."""
    shares = rng.uniform(*_SHARES, len(origin))
    return np.asarray(shares / np.bincount(origin, shares, count)[origin])
