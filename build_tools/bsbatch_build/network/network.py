"""The paper's classifier: VGG16 convolutions, global average pooling, dense 512, softmax over two.

Source: Ibrahim et al., Cancer Imaging 2023; 23:12.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from bsbatch.errors import UsageError
from bsbatch.geometry import VIEW_ROWS
from bsbatch_build import toolchain
from bsbatch_build.toolchain import KerasModel, Tensor

SIDE = VIEW_ROWS
"""Rows and columns of the input."""
CHANNELS = 3
"""The paper repeats the one channel three times, because the ImageNet weights read three."""
BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
"""Convolutions and channels of each block of VGG16."""
EARLY = (1, 2)
"""Blocks with an optional width of their own: a third of the multiplications, but most of the memory traffic."""
DENSE = 512
CLASSES = 2
WIDEST = 4.0
BIAS_RANGE = 0.05
"""Seeded biases are uniform in +-0.05. The export would remove biases of zero, and the graph of a random network would
not be the graph of a trained one."""
LAYOUT = {"data_format": "channels_last"}
"""Passed to every layer, like its ``dtype``, so that a user's ``keras.json`` cannot change the network."""
FLOAT32, MIXED = "float32", "mixed_bfloat16"
"""Keras' names for the arithmetic of a layer."""
NORM, RELU = "_norm", "_relu"
"""Suffixes of the layers behind a convolution: batch normalisation, and the activation that follows it."""
MOMENTUM = 0.9
"""Momentum of the moving averages of batch normalisation: a short training must not keep its first averages."""
Layer = Callable[[Tensor], Tensor]
"""A Keras layer, as far as `build` uses it."""


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """Width of the network and origin of its weights."""

    weights: str = "random"
    """``random``, ``imagenet``, or the path of a ``.keras`` or ``.h5`` file."""
    seed: int = 0
    """Seed of all random weights, 0 or more."""
    width: float = 1.0
    """Factor on the number of channels of every layer but the last, in (0, 4]; 1.0 is the paper's network."""
    early_width: float | None = None
    """The same for the first two blocks, which take most of the training time; None for `width`."""

    def __post_init__(self) -> None:
        """Raise UsageError for values that no network can have."""
        for name, width in (("width", self.width), ("early-width", self.early_width)):
            if width is not None and not 0.0 < width <= WIDEST:
                raise UsageError(f"--{name} {width} is not in (0, {WIDEST:g}]: 1.0 is the paper's network")
        if self.seed < 0:
            raise UsageError(f"--seed {self.seed} is negative: give 0 or more")
        if self.weights == "imagenet" and {self.width, self.early_width} - {1.0, None}:
            raise UsageError("the ImageNet weights are of width 1.0: leave --width and --early-width out")

    def channels(self, full: int, block: int | None = None) -> int:
        """Return the channels, at least 1, of a layer that has `full` channels at width 1.0."""
        width = self.early_width if self.early_width is not None and block in EARLY else self.width
        return max(1, round(full * width))


def build(
    settings: NetworkSettings, *, batch_norm: bool = False, side: int | None = SIDE, dtype: str = FLOAT32
) -> KerasModel:
    """Build the network with seeded random weights.

    Kernels are He normal (He et al., ICCV 2015): activations keep their scale over 13 convolutions, and the two
    probabilities stay away from 0 and 1. The network has 14,978,370 weights at width 1.0.

    Parameters
    ----------
    settings
        Width and seed.
    batch_norm
        Put batch normalisation (Ioffe and Szegedy, ICML 2015) between each convolution and its activation, for
        training from random weights; `bsbatch_build.network.surgery.fold` removes it again.
    side
        Rows and columns of the input; None for any multiple of 32.
    dtype
        Arithmetic of convolutions and poolings, `FLOAT32` or `MIXED`; weights are float32 in both.

    Returns
    -------
    keras.Model
        ``(N, 512, 512, 3) float32 in [0, 1]`` to ``(N, 2) float32``, each row adding up to 1; column 1 is metastasis.
        Convolutions are named as in Keras' VGG16, ``block1_conv1`` to ``block5_conv3``; the layers of the head are
        ``gap``, ``fc1`` and ``predictions``.
    """
    keras = toolchain.keras()
    image = keras.Input((side, side, CHANNELS), dtype="float32", name="image")
    tensor = image
    for layer in _layers(keras.layers, settings, batch_norm=batch_norm, dtype=dtype):
        tensor = layer(tensor)
    network: KerasModel = keras.Model(image, tensor, name="vgg16")
    return network


def convolution_names() -> list[str]:
    """Return the names of the convolutions in order, ``block1_conv1`` to ``block5_conv3``."""
    return [
        f"block{block}_conv{index}" for block, (many, _) in enumerate(BLOCKS, start=1) for index in range(1, many + 1)
    ]


def _layers(layers: ModuleType, settings: NetworkSettings, *, batch_norm: bool, dtype: str) -> Iterator[Layer]:
    initializers = _initializers(settings.seed)
    activation = None if batch_norm else "relu"
    spatial = {"dtype": dtype, **LAYOUT}
    convolution = {"padding": "same", "activation": activation, **spatial}
    for number, (convolutions, channels) in enumerate(BLOCKS, start=1):
        for index in range(1, convolutions + 1):
            name, filters = f"block{number}_conv{index}", settings.channels(channels, number)
            yield layers.Conv2D(filters, 3, name=name, **next(initializers), **convolution)
            if batch_norm:
                yield layers.BatchNormalization(name=name + NORM, momentum=MOMENTUM, dtype=FLOAT32)
                yield layers.ReLU(name=name + RELU, dtype=dtype)
        yield layers.MaxPooling2D(2, name=f"block{number}_pool", **spatial)
    yield layers.GlobalAveragePooling2D(name="gap", dtype=FLOAT32, **LAYOUT)
    yield layers.Dense(settings.channels(DENSE), activation="relu", name="fc1", dtype=FLOAT32, **next(initializers))
    yield layers.Dense(CLASSES, activation="softmax", name="predictions", dtype=FLOAT32, **next(initializers))


def _initializers(seed: int) -> Iterator[dict[str, object]]:
    """Yield the initialisers of each layer in order, each with seeds of its own."""
    initializers = toolchain.keras().initializers
    weighted_layers = sum(convolutions for convolutions, _ in BLOCKS) + 2
    # Keras accepts seeds of at most 31 bits.
    seeds = np.random.SeedSequence(seed).generate_state(2 * weighted_layers) >> 1
    for kernel, bias in seeds.reshape(-1, 2).tolist():
        yield {
            "kernel_initializer": initializers.HeNormal(seed=kernel),
            "bias_initializer": initializers.RandomUniform(-BIAS_RANGE, BIAS_RANGE, seed=bias),
        }
