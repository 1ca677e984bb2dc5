"""What a backend makes of a graph by itself is held against ONNX Runtime before it is used."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import ModelError

TOLERANCE = 1e-5
"""Largest difference of a probability."""
CAM_TOLERANCE = 1e-2
"""Largest difference of a map, as a share of the map's largest value: a wrong graph is far beyond."""
_SHAPE = (2, 1, 512, 512)
_EXPONENTS = np.array([1, 4], np.float32).reshape(2, 1, 1, 1)

Score = Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]
"""An image ``(1, 512, 512)`` to ``(2,)`` probabilities, and a map if the graph gives one."""


def hold_against_onnxruntime(graph: Path, names: tuple[str, ...], score: Score, tolerance: float = TOLERANCE) -> float:
    """Compare on two images of noise, one of them dark; gives the largest difference of a probability.

    Parameters
    ----------
    graph
        The whole ONNX graph.
    names
        Its input, and the outputs that are compared: probabilities, then the map.
    score
        What is held against it.
    tolerance
        Of a probability.

    Raises
    ------
    ModelError
        They differ.
    """
    images = np.random.default_rng(0).random(_SHAPE, np.float32) ** _EXPONENTS
    session = import_module("onnxruntime").InferenceSession(graph, providers=["CPUExecutionProvider"])
    expected = session.run(list(names[1:]), {names[0]: images})
    found = [np.stack(values) for values in zip(*map(score, images), strict=True)]
    difference = float(np.abs(found[0] - expected[0]).max())
    if not difference <= tolerance:
        raise ModelError(f"a probability differs by {difference:.2g} from ONNX Runtime's, at most {tolerance:g} passes")
    for actual, wanted in zip(found[1:], expected[1:], strict=True):
        share = float(np.abs(actual - wanted).max() / np.abs(wanted).max())
        if not share <= CAM_TOLERANCE:
            raise ModelError(f"a map differs by {share:.2g} of its largest value, at most {CAM_TOLERANCE:g} passes")
    return difference
