"""Validation of converted or recompiled graphs: their outputs compared with ONNX Runtime's before first use."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bsbatch.backends.onnx_session import open_session
from bsbatch.errors import BsbatchError, ModelError
from bsbatch.geometry import INPUT_SHAPE, OUTPUT_SHAPES

TOLERANCE = 1e-5
"""Largest accepted difference of a probability."""
SHARE_TOLERANCE = 1e-2
"""Largest accepted difference of a heat map or a distance, as a share of the largest value: a wrong graph is far
beyond."""
_IMAGES = 2
_EXPONENTS = np.array([1, 4], np.float32).reshape(2, 1, 1, 1)

ScoreImage = Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]
"""Maps an image ``(1, 512, 512)`` to its outputs, each of its shape in `OUTPUT_SHAPES`."""


def compare_with_onnxruntime(
    graph: Path, image: str, outputs: Mapping[str, str], score: ScoreImage, tolerance: float = TOLERANCE
) -> float:
    """Compare a function's outputs with ONNX Runtime's on two images of noise, one of them dark.

    Parameters
    ----------
    graph
        The whole ONNX graph.
    image
        The name of its input.
    outputs
        The outputs to compare, probabilities first, see `bsbatch.models.directory.Manifest.outputs`.
    score
        The function to validate.
    tolerance
        Largest accepted difference of a probability.

    Returns
    -------
    float
        Largest absolute difference of a probability.

    Raises
    ------
    ModelError
        The outputs differ or have other shapes, or ONNX Runtime cannot load or compute the graph.
    """
    try:
        return _compare(graph, image, outputs, score, tolerance)
    except BsbatchError:
        raise
    except Exception as error:  # runtimes raise nearly everything
        raise ModelError(f"its outputs cannot be computed and compared: {type(error).__name__}") from error


def _compare(graph: Path, image: str, outputs: Mapping[str, str], score: ScoreImage, tolerance: float) -> float:
    images = np.random.default_rng(0).random((_IMAGES, *INPUT_SHAPE), np.float32) ** _EXPONENTS
    expected = open_session(graph, graph).run(list(outputs.values()), {image: images})
    for values, field in zip(expected, outputs, strict=True):
        shape = _IMAGES, *OUTPUT_SHAPES[field]
        if values.shape != shape:
            raise ModelError(f"an output has the shape {values.shape} and not {shape}: export it again")
    actual = [np.stack(values) for values in zip(*map(score, images), strict=True)]
    difference = float(np.abs(actual[0] - expected[0]).max())
    if not difference <= tolerance:
        raise ModelError(f"a probability differs by {difference:.2g} from ONNX Runtime's, at most {tolerance:g} passes")
    for name, values, wanted in zip([*outputs][1:], actual[1:], expected[1:], strict=True):
        share = float(np.abs(values - wanted).max() / np.abs(wanted).max())
        if not share <= SHARE_TOLERANCE:
            raise ModelError(
                f"its {name} differ by {share:.2g} of the largest value, at most {SHARE_TOLERANCE:g} passes"
            )
    return difference
