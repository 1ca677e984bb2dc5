"""Validation of converted or recompiled graphs: their outputs compared with ONNX Runtime's before first use."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bsbatch.backends.onnx_session import open_session
from bsbatch.backends.outputs import SHAPES
from bsbatch.errors import BsbatchError, ModelError
from bsbatch.geometry import INPUT_SHAPE

TOLERANCE = 1e-5
"""Largest accepted difference of a probability."""
CAM_TOLERANCE = 1e-2
"""Largest accepted difference of a heat map, as a share of the map's largest value: a wrong graph is far beyond."""
_IMAGES = 2
_EXPONENTS = np.array([1, 4], np.float32).reshape(2, 1, 1, 1)

ScoreImage = Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]
"""Maps an image ``(1, 512, 512)`` to ``(2,)`` probabilities, and a heat map if the graph gives one."""


def compare_with_onnxruntime(
    graph: Path, names: tuple[str, ...], score: ScoreImage, tolerance: float = TOLERANCE
) -> float:
    """Compare a function's outputs with ONNX Runtime's on two images of noise, one of them dark.

    Parameters
    ----------
    graph
        The whole ONNX graph.
    names
        Its input, and the outputs to compare: probabilities, then the heat map.
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
        return _compare(graph, names, score, tolerance)
    except BsbatchError:
        raise
    except Exception as error:  # runtimes raise nearly everything
        raise ModelError(f"its outputs cannot be computed and compared: {type(error).__name__}") from error


def _compare(graph: Path, names: tuple[str, ...], score: ScoreImage, tolerance: float) -> float:
    images = np.random.default_rng(0).random((_IMAGES, *INPUT_SHAPE), np.float32) ** _EXPONENTS
    expected = open_session(graph, graph).run(names[1:], {names[0]: images})
    for values, shape in zip(expected, SHAPES, strict=False):
        if values.shape != (_IMAGES, *shape):
            raise ModelError(f"an output has the shape {values.shape} and not {(_IMAGES, *shape)}: export it again")
    actual = [np.stack(values) for values in zip(*map(score, images), strict=True)]
    difference = float(np.abs(actual[0] - expected[0]).max())
    if not difference <= tolerance:
        raise ModelError(f"a probability differs by {difference:.2g} from ONNX Runtime's, at most {tolerance:g} passes")
    for cam, wanted in zip(actual[1:], expected[1:], strict=True):
        share = float(np.abs(cam - wanted).max() / np.abs(wanted).max())
        if not share <= CAM_TOLERANCE:
            raise ModelError(f"a map differs by {share:.2g} of its largest value, at most {CAM_TOLERANCE:g} passes")
    return difference
