"""Compares an ONNX graph of one channel with its three-channel Keras model before the graph is written.

`bsbatch_build.checks.verify` compares the backends with Keras afterwards, on examinations.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import ModelError
from bsbatch_build import toolchain
from bsbatch_build.checks.golden import golden_examinations
from bsbatch_build.network.network import SIDE
from bsbatch_build.toolchain import KerasModel

TOLERANCE = 1e-5
"""Largest difference of a probability."""
HALF_TOLERANCE = 5e-3
"""Largest difference of a probability if weights are rounded to float16."""
LOG_TOLERANCE = 1e-2
"""Largest difference of the logarithm of a probability. For trained models with extreme outputs: if both give
0.999999999, a wrong graph would pass the first test."""
_GOLDEN = 8
"""Phantoms among the images that measure the effect of storing weights as float16."""
SMALLEST = 1e-30
"""Smaller probabilities are raised to it; their logarithms are rounding errors."""
DARKNESS = (1.0, 2.0, 4.0, 8.0)
"""One image for each: uniform noise to this power. Most of a bone scan is dark."""


@dataclass(frozen=True, slots=True)
class GraphDifference:
    """Differences between the graph and the Keras model."""

    difference: float
    """Largest absolute difference of a probability."""
    log_difference: float
    """Largest absolute difference of the natural logarithm of a probability."""
    images: int
    """Images compared."""

    @property
    def is_within_tolerance(self) -> bool:
        """True if the graph may replace the model; False for differences that are not numbers."""
        return self.difference <= TOLERANCE and self.log_difference <= LOG_TOLERANCE


def check_graph(graph: bytes, network: KerasModel, seed: int) -> GraphDifference:
    """Compare the graph in ONNX Runtime with the Keras model on seeded random images.

    Parameters
    ----------
    graph
        A serialised ONNX model, ``image (N, 1, 512, 512) float32`` to ``probabilities (N, 2) float32``.
    network
        The Keras model; every image is repeated over its one or three channels.
    seed
        Seed of the images.

    Raises
    ------
    ModelError
        The two differ by more than 1e-5, or by more than 1e-2 in the logarithm.
    """
    images = random_images(seed)
    expected = np.concatenate([keras_probabilities(network, image) for image in images])
    compared = _difference(expected, _onnx_probabilities(graph, images))
    if not compared.is_within_tolerance:
        raise ModelError(
            f"the ONNX graph differs from the Keras model by {compared.difference:.2g} in a probability and "
            f"{compared.log_difference:.2g} in its logarithm (at most {TOLERANCE:g} and {LOG_TOLERANCE:g} pass): "
            "nothing was written; use the versions in constraints.txt"
        )
    return compared


def storage_difference(stored: bytes, full: bytes, seed: int) -> float:
    """Largest absolute change of a probability by storing the weights as float16, on noise and on phantoms.

    Raises
    ------
    ModelError
        The change is above 5e-3, the tolerance of float16.
    """
    images = np.concatenate([random_images(seed), golden_examinations(_GOLDEN, seed=0).images])
    difference = float(np.max(np.abs(_onnx_probabilities(stored, images) - _onnx_probabilities(full, images))))
    if not difference <= HALF_TOLERANCE:
        raise ModelError(
            f"with weights stored as fp16 a probability changes by {difference:.2g} (at most {HALF_TOLERANCE:g} "
            "passes): store the model as fp32"
        )
    return difference


def random_images(seed: int) -> NDArray[np.float32]:
    """Draw noise images, some as dark as bone scans and some brighter, ``(4, 1, 512, 512) float32 in [0, 1]``."""
    powers = np.asarray(DARKNESS, dtype=np.float32).reshape(-1, 1, 1, 1)
    noise = np.random.default_rng(seed).random((len(DARKNESS), 1, SIDE, SIDE), dtype=np.float32)
    return np.power(noise, powers)


def keras_probabilities(network: KerasModel, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Score one image ``(1, 512, 512)`` as ``(1, 2)``; one at a time, because its first activations take 128 MiB."""
    channels_last = np.repeat(image[:, :, :, np.newaxis], input_channels(network), axis=3)
    return np.asarray(network(channels_last, training=False), dtype=np.float32)


def input_channels(network: KerasModel) -> int:
    """Number of channels of the network's input, 1 or 3."""
    channels = network.input_shape[-1]
    assert channels is not None
    return channels


def _onnx_probabilities(graph: bytes, images: NDArray[np.float32]) -> NDArray[np.float32]:
    session = toolchain.package("onnxruntime").InferenceSession(graph, providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(["probabilities"], {"image": images})
    return np.asarray(probabilities, dtype=np.float32)


def _difference(expected: NDArray[np.float32], actual: NDArray[np.float32]) -> GraphDifference:
    logs = [np.log(np.maximum(probabilities, SMALLEST)) for probabilities in (expected, actual)]
    return GraphDifference(
        difference=float(np.max(np.abs(expected - actual))),
        log_difference=float(np.max(np.abs(logs[0] - logs[1]))),
        images=len(expected),
    )
