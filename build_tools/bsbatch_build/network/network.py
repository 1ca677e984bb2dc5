"""The paper's classifier in Keras: VGG16 convolutions, global average pooling, dense 512, softmax over two classes.

Source: Ibrahim et al., Cancer Imaging 2023; 23:12.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bsbatch.errors import UsageError
from bsbatch_build import toolchain

SIDE = 512
"""Rows and columns of the input."""
CHANNELS = 3
"""The paper repeats the one channel three times, as the ImageNet weights want it."""
BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
"""Convolutions and channels of each block of VGG16."""
EARLY = (1, 2)
"""Blocks that may have a width of their own: a third of the multiplications, but most of the memory traffic."""
DENSE = 512
CLASSES = 2
WIDEST = 4.0
BIAS_RANGE = 0.05
"""Seeded biases are uniform in +-0.05. Biases of zero would be folded away, and the twins' graph would not be the graph
of a trained model."""
LAYOUT: dict[str, Any] = {"data_format": "channels_last"}
"""Said to every layer, as its ``dtype`` is, so that a user's ``keras.json`` cannot change the network."""
FLOAT32, MIXED = "float32", "mixed_bfloat16"
"""Keras' names of what a layer computes in."""
NORM, RELU = "_norm", "_relu"
"""Endings of the names of a convolution's batch normalisation, and of its activation where the two are apart."""
MOMENTUM = 0.9
"""Of the moving averages of batch normalisation: short trainings must not end with the averages of their beginning."""


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """How wide the network is and where its weights come from."""

    weights: str = "random"
    """``random``, ``imagenet``, or the path of a ``.keras`` or ``.h5`` file."""
    seed: int = 0
    """Seed of every weight that is drawn, 0 or more."""
    width: float = 1.0
    """Factor on the number of channels of every layer but the last, above 0; 1.0 is the paper's network."""
    early_width: float | None = None
    """The same of the first two blocks, where training spends most of its time; None for `width`."""

    def __post_init__(self) -> None:
        """Refuse values no network could be built of."""
        for name, width in (("width", self.width), ("early-width", self.early_width)):
            if width is not None and not 0.0 < width <= WIDEST:
                raise UsageError(f"--{name} {width} is not in (0, {WIDEST:g}]: 1.0 is the paper's network")
        if self.seed < 0:
            raise UsageError(f"--seed {self.seed} is negative: give 0 or more")
        if self.weights == "imagenet" and {self.width, self.early_width} - {1.0, None}:
            raise UsageError("the ImageNet weights are of width 1.0: leave --width and --early-width out")

    def channels(self, full: int, block: int | None = None) -> int:
        """Channels of a layer that has `full` channels at width 1.0; at least 1."""
        width = self.early_width if self.early_width is not None and block in EARLY else self.width
        return max(1, round(full * width))


def build(settings: NetworkSettings, *, batch_norm: bool = False, side: int | None = SIDE, dtype: str = FLOAT32) -> Any:
    """Build the network with seeded random weights.

    Kernels are He normal (He et al., ICCV 2015), so activations keep their scale over 13 convolutions and the two
    probabilities stay away from 0 and 1. 14,978,370 weights at width 1.0.

    Parameters
    ----------
    settings
        Width and seed.
    batch_norm
        Put batch normalisation (Ioffe and Szegedy, ICML 2015) between each convolution and its activation, to train
        from random weights; `bsbatch_build.network.surgery.fold` takes it out again.
    side
        Rows and columns of the input; None for any multiple of 32.
    dtype
        What convolutions and poolings compute in, `FLOAT32` or `MIXED`; weights are float32 in both.

    Returns
    -------
    keras.Model
        ``(N, 512, 512, 3) float32 in [0, 1]`` to ``(N, 2) float32``, each row adding up to 1; column 1 is metastasis.
        Convolutions are named as in Keras' VGG16, ``block1_conv1`` to ``block5_conv3``, the rest ``gap``, ``fc1`` and
        ``predictions``.
    """
    keras = toolchain.keras()
    image = keras.Input((side, side, CHANNELS), dtype="float32", name="image")
    tensor = image
    for layer in _layers(keras.layers, settings, batch_norm=batch_norm, dtype=dtype):
        tensor = layer(tensor)
    return keras.Model(image, tensor, name="vgg16")


def convolution_names() -> list[str]:
    """``block1_conv1`` to ``block5_conv3``, from the image on."""
    return [
        f"block{block}_conv{index}" for block, (many, _) in enumerate(BLOCKS, start=1) for index in range(1, many + 1)
    ]


def _layers(layers: Any, settings: NetworkSettings, *, batch_norm: bool, dtype: str) -> Iterator[Any]:
    drawn = _initializers(settings.seed)
    activation = None if batch_norm else "relu"
    spatial = {"dtype": dtype, **LAYOUT}
    convolution: dict[str, Any] = {"padding": "same", "activation": activation, **spatial}
    for number, (convolutions, channels) in enumerate(BLOCKS, start=1):
        for index in range(1, convolutions + 1):
            name, filters = f"block{number}_conv{index}", settings.channels(channels, number)
            yield layers.Conv2D(filters, 3, name=name, **next(drawn), **convolution)
            if batch_norm:
                yield layers.BatchNormalization(name=name + NORM, momentum=MOMENTUM, dtype=FLOAT32)
                yield layers.ReLU(name=name + RELU, dtype=dtype)
        yield layers.MaxPooling2D(2, name=f"block{number}_pool", **spatial)
    yield layers.GlobalAveragePooling2D(name="gap", dtype=FLOAT32, **LAYOUT)
    yield layers.Dense(settings.channels(DENSE), activation="relu", name="fc1", dtype=FLOAT32, **next(drawn))
    yield layers.Dense(CLASSES, activation="softmax", name="predictions", dtype=FLOAT32, **next(drawn))


def _initializers(seed: int) -> Iterator[dict[str, Any]]:
    """Yield the initialisers of one layer after the other, each with seeds of its own."""
    initializers = toolchain.keras().initializers
    weighted_layers = sum(convolutions for convolutions, _ in BLOCKS) + 2
    # Keras takes seeds that fit 31 bits.
    seeds = np.random.SeedSequence(seed).generate_state(2 * weighted_layers) >> 1
    for kernel, bias in seeds.reshape(-1, 2).tolist():
        yield {
            "kernel_initializer": initializers.HeNormal(seed=kernel),
            "bias_initializer": initializers.RandomUniform(-BIAS_RANGE, BIAS_RANGE, seed=bias),
        }
