"""Loads the weights of a network: random from a seed, ImageNet, or a file."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from bsbatch.backends.keras_cams import channels_of
from bsbatch.errors import ModelError, UsageError
from bsbatch_build import toolchain
from bsbatch_build.network.network import CHANNELS, SIDE, NetworkSettings, build
from bsbatch_build.network.surgery import join, mirror, widen
from bsbatch_build.toolchain import Array, KerasModel

logger = logging.getLogger(__name__)

RANDOM = "random"
IMAGENET = "imagenet"
MESSAGE = 160
"""Characters of a foreign error that a message quotes."""
SAME_OUTPUT = 1e-5
"""Largest difference of a probability between a model from a file and this network with the file's weights."""


def load(settings: NetworkSettings, *, may_widen: bool = False) -> KerasModel:
    """Build the network and fill in its weights.

    Parameters
    ----------
    settings
        Width of the network and origin of its weights.
    may_widen
        Widen a narrower network from a file instead of raising, see `bsbatch_build.network.surgery.widen`.

    Returns
    -------
    keras.Model
        See `bsbatch_build.network.network.build`.

    Raises
    ------
    UsageError
        The ImageNet weights cannot be downloaded.
    ModelError
        The file does not exist, cannot be read, or holds another network.
    """
    network = build(settings)
    if settings.weights == IMAGENET:
        _copy_imagenet(network)
    elif settings.weights != RANDOM:
        _copy_file(network, settings, may_widen=may_widen)
    return network


def load_joined(settings: NetworkSettings, more: Sequence[Path], *, mirrored: bool) -> KerasModel:
    """Load several narrow networks as one, see `bsbatch_build.network.surgery.join`.

    Parameters
    ----------
    settings
        Width of the joined network, and the file of the first member.
    more
        Files of the other members.
    mirrored
        True adds each member a second time, for the mirrored image.

    Raises
    ------
    ModelError
        A file does not exist, cannot be read, or holds another network or one that is too wide for its share.
    """
    paths = (Path(settings.weights), *more)
    share = replace(settings, width=settings.width / (len(paths) * (2 if mirrored else 1)))
    members = [load(replace(share, weights=str(path)), may_widen=True) for path in paths]
    if mirrored:
        members += [mirror(member, share) for member in members]
    return join(members, settings)


def load_other(path: Path) -> KerasModel:
    """Load a whole Keras model of any architecture.

    Returns
    -------
    keras.Model
        ``(N, 512, 512, 1 or 3) float32 in [0, 1]`` to ``(N, 2)``, each row adding up to 1.

    Raises
    ------
    ModelError
        The file does not exist, cannot be loaded, or holds a model with other inputs or outputs.
    """
    try:
        network = toolchain.load_model(path)
    except Exception as error:  # Keras passes on any error of h5py, zipfile, json and the layers
        raise ModelError(
            f"Keras cannot load {path} ({_first_line(error)}): give a .keras file of this version of Keras, without "
            "Lambda layers or layers of its own"
        ) from error
    probabilities = np.asarray(network(_noise(channels_of(network)), training=False))
    if not (np.all(probabilities >= 0.0) and abs(float(probabilities.sum()) - 1.0) <= SAME_OUTPUT):
        raise ModelError(f"{path} gives {probabilities[0].tolist()}, no two probabilities: end it with a softmax")
    return network


def _noise(channels: int) -> Array:
    return np.random.default_rng(0).random((1, SIDE, SIDE, channels), dtype=np.float32)


def _copy_imagenet(network: KerasModel) -> None:
    """Copy Keras' ImageNet weights into the convolutions; the head keeps its seeded weights."""
    try:
        trunk = toolchain.keras().applications.VGG16(include_top=False, weights="imagenet")
    except Exception as error:  # Keras raises a bare Exception when a download fails.
        raise UsageError(
            f"the ImageNet weights cannot be downloaded ({_first_line(error)}): start again with a network, or copy "
            "~/.keras/models/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5 from a machine that has it, or use "
            "--weights random or --weights FILE"
        ) from error
    for layer in trunk.layers:
        if layer.get_weights():
            network.get_layer(layer.name).set_weights(layer.get_weights())


def _copy_file(network: KerasModel, settings: NetworkSettings, *, may_widen: bool) -> None:
    path = Path(settings.weights)
    if not path.is_file():
        raise ModelError(f"--weights {path}: there is no such file; give random, imagenet, or a .keras or .h5 file")
    reader = _reader_of(path)
    if reader is _copy_model and may_widen:
        _copy_widened(network, settings, path)
    else:
        reader(network, path)


def _reader_of(path: Path) -> Callable[[KerasModel, Path], None]:
    if path.suffix not in (".keras", ".h5"):
        raise ModelError(f"--weights {path}: give a .keras or .h5 file")
    attributes = _h5_attributes(path) if path.suffix == ".h5" else {"model_config"}
    if "model_config" in attributes:
        return _copy_model
    return _copy_layers_by_name if "layer_names" in attributes else _copy_keras3_weights


def _h5_attributes(path: Path) -> set[str]:
    with _map_errors(path), toolchain.package("h5py").File(path) as stored:
        return set(stored.attrs)


def _copy_widened(network: KerasModel, settings: NetworkSettings, path: Path) -> None:
    """Copy the weights of a whole model that may be narrower."""
    model = _load_model(path)
    network.set_weights(widen(model, settings).get_weights())
    _refuse_other_output(network, model, path)


def _load_model(path: Path) -> KerasModel:
    with _map_errors(path):
        return toolchain.load_model(path)


def _copy_model(network: KerasModel, path: Path) -> None:
    """Copy the weights of a whole model, and check that both networks then have the same output."""
    model = _load_model(path)
    _refuse_other_shapes(network, model, path)
    network.set_weights(model.get_weights())
    _refuse_other_output(network, model, path)


def _copy_layers_by_name(network: KerasModel, path: Path) -> None:
    """Copy from a weights file of Keras 2: a group for each layer, its arrays in the order of ``weight_names``."""
    with _map_errors(path), toolchain.package("h5py").File(path) as stored:
        for layer in network.layers:
            if layer.weights:
                group = stored[layer.name]
                layer.set_weights([np.asarray(group[name]) for name in group.attrs["weight_names"]])


def _copy_keras3_weights(network: KerasModel, path: Path) -> None:
    """Load a weights file of Keras 3; its warning of a layer that keeps its random weights becomes an error."""
    with _map_errors(path), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network.load_weights(path)
    left_random = [str(warning.message) for warning in caught if warning.category is UserWarning]
    if left_random:
        raise ModelError(
            f"--weights {path} is incomplete ({left_random[0][:MESSAGE]}): give a file of the whole network"
        )


@contextmanager
def _map_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # Keras and h5py raise nearly anything for a broken or unsuitable file.
        logger.debug("reading %s", path, exc_info=True)
        raise ModelError(
            f"--weights {path} cannot be read into this network ({_first_line(error)}): give a file of the paper's "
            "network, with the --width it was made with"
        ) from error


def _refuse_other_shapes(network: KerasModel, model: KerasModel, path: Path) -> None:
    wanted = [(weight.path, tuple(weight.shape)) for weight in network.weights]
    given = [tuple(weight.shape) for weight in model.weights]
    if len(given) != len(wanted):
        raise ModelError(
            f"--weights {path} has {len(given)} weight arrays, the paper's network {len(wanted)}: give its file"
        )
    for (name, shape), other in zip(wanted, given, strict=True):
        if shape != other:
            raise ModelError(
                f"--weights {path} does not fit: {name} is {other}, not {shape}; give the --width it was made with"
            )


def _refuse_other_output(network: KerasModel, model: KerasModel, path: Path) -> None:
    """Raise ModelError if the outputs differ: another pooling, activation or scaling has the same weights."""
    image = _noise(CHANNELS)
    with _map_errors(path):
        difference = float(np.max(np.abs(np.asarray(model(image, training=False)) - np.asarray(network(image)))))
    if not difference <= SAME_OUTPUT:
        raise ModelError(
            f"--weights {path} holds another network: on one image its probabilities differ by {difference:.2g}; give "
            "a file of the paper's network, with its softmax and without layers that scale the input"
        )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:MESSAGE] if lines else type(error).__name__
