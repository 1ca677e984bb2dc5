"""Scores of single examinations out of the outputs of a backend: probability, logit, distance, heat map."""

from collections.abc import Iterator
from itertools import repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bsbatch.records import Inference

_SMALLEST = float(np.finfo(np.float32).tiny)


class Score(NamedTuple):
    """Outputs of one examination."""

    p_metastasis: float
    logit: float
    """``ln(p / (1 - p))``, at most 87.3 and at least -87.3."""
    distance: float | None
    """Squared Mahalanobis distance from the training data; None if the model has no statistics of them."""
    cam: NDArray[np.float32] | None
    """Signed heat map; None if the backend makes none."""


def scores_of(inference: Inference) -> Iterator[Score]:
    """Iterate over the scores of the examinations of a batch.

    The logit is the difference of the logarithms of both softmax outputs: one of them is small where the other is
    rounded to 1.
    """
    probabilities = inference.probabilities
    logs = np.log(np.maximum(probabilities.astype(np.float64), _SMALLEST))
    distances = repeat(None) if inference.distances is None else inference.distances.tolist()
    cams = repeat(None) if inference.cams is None else inference.cams
    return map(Score, probabilities[:, 1].tolist(), (logs[:, 1] - logs[:, 0]).tolist(), distances, cams)


def is_beyond(distance: float | None, limit: float | None) -> bool:
    """Return True for a distance beyond the limit, or one that is not a number; False without either."""
    return distance is not None and limit is not None and not distance <= limit
