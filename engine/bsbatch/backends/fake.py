"""A backend without a model, for tests and rehearsals."""

from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bsbatch.config import Effort
from bsbatch.geometry import CAM_SHAPE, CELL
from bsbatch.models.directory import Model
from bsbatch.protocols import Images
from bsbatch.records import Inference

_STEEPNESS = 40.0
_MIDDLE = 0.05
"""Mean of an image that gets the score 0.5."""


class FakeBackend:
    """Scores an image by its mean: the same image gets the same score in every batch."""

    precision = "fake"
    lanes = 1

    def __init__(self, model: Model | None, effort: Effort, *, with_cams: bool = False) -> None:
        """Accept the arguments of every backend; the model is ignored."""
        del model
        self._with_cams = with_cams
        self.batch_size = effort.batch_size or 8

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def infer(self, images: Images) -> Inference:
        """Score ``(N, 1, 512, 512)`` images by the logistic function of their means.

        A heat map holds each cell's contribution to the mean's distance from 0.05.
        """
        batch = np.asarray(images)
        means = batch.mean(axis=(1, 2, 3), dtype=np.float64)
        positive = 1.0 / (1.0 + np.exp(-_STEEPNESS * (means - _MIDDLE)))
        probabilities = np.stack([1.0 - positive, positive], axis=1).astype(np.float32)
        return Inference(probabilities, cams=_cams_of(batch) if self._with_cams else None)


def _cams_of(images: NDArray[np.float32]) -> NDArray[np.float32]:
    means = images.reshape(-1, CAM_SHAPE[0], CELL, CAM_SHAPE[1], CELL).mean(axis=(2, 4))
    return np.asarray(means - _MIDDLE, np.float32)
