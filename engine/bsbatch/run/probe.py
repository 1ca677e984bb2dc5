"""A test image for a backend, before it gets work: its outputs are checked, and the time that it takes."""

import time
from dataclasses import dataclass

import numpy as np

from bsbatch.errors import BackendError, ModelError
from bsbatch.geometry import CAM_SHAPE, INPUT_SHAPE
from bsbatch.protocols import Backend
from bsbatch.records import Inference
from bsbatch.run.setup import MAX_UNIT

_UNIT_SECONDS = 60.0
_SUM_TOLERANCE = 1e-3
"""Largest accepted difference from 1 of the sum of both probabilities; float16 is off by half of that."""


@dataclass(frozen=True, slots=True)
class Probe:
    """The test of an entered backend."""

    lanes: int
    seconds: float
    """Time of one image."""
    score: float
    """``p_metastasis`` of the test image."""

    @property
    def unit_size(self) -> int:
        """Examinations that this backend scores in about a minute, at most `MAX_UNIT`."""
        return max(1, min(MAX_UNIT, round(_UNIT_SECONDS / self.seconds)))


def probe(backend: Backend) -> Probe:
    """Score images of noise, one for each lane; the first one is the same for all backends.

    Raises
    ------
    ModelError
        The output is no pair of probabilities that add up to 1, or its heat map has another shape.
    """
    images = np.random.default_rng(0).random((backend.lanes, *INPUT_SHAPE), np.float32)
    started = time.perf_counter()
    try:
        inference = backend.infer(images)
    except BackendError as error:
        raise ModelError(f"the model cannot score a test image: {error}") from error
    _check_outputs(inference, len(images))
    seconds = (time.perf_counter() - started) / len(images)
    return Probe(backend.lanes, seconds, float(inference.probabilities[0, 1]))


def _check_outputs(inference: Inference, images: int) -> None:
    probabilities, cams = inference.probabilities, inference.cams
    if probabilities.shape != (images, 2) or not np.all((probabilities >= 0) & (probabilities <= 1)):
        raise ModelError("the model gives no two probabilities for a test image: export it again")
    totals = probabilities.sum(axis=1, dtype=np.float64)
    if np.abs(totals - 1).max() > _SUM_TOLERANCE:
        raise ModelError(f"the model's probabilities add up to {totals[0]:.4g}, not to 1: export it with a softmax")
    distances = inference.distances
    if distances is not None and (distances.shape != (images,) or not np.all(distances >= 0)):
        raise ModelError("the model gives no distance from its training data for a test image: export it again")
    if cams is not None and cams.shape != (images, *CAM_SHAPE):
        raise ModelError(f"the model's heat maps have the shape {cams.shape[1:]}, not {CAM_SHAPE}: export it again")
