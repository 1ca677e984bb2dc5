"""Calibration of a model's scores: slope and intercept of the logit, folded into the last layer.

Platt, "Probabilistic outputs for support vector machines" (1999); Cox, Biometrika 1958;45:562-565: the logistic
regression of the label on the logit. The order of the examinations and the ROC curve stay.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import ModelError, UsageError
from bsbatch_build import toolchain
from bsbatch_build.export.onnx_types import ModelProto, TensorProto

_LAYER = "predictions"
_STEPS, _SMALLEST_STEP = 50, 1e-10
_LARGEST = 500.0
"""Logits are clipped to it, so that the exponential stays finite."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The logit of a probability is ``slope * logit + intercept``."""

    slope: float
    intercept: float
    examinations: int
    """Examinations that it was fitted to."""
    positives: int

    def after(self, earlier: Mapping[str, Any]) -> Self:
        """Return the calibration that does both, this one after the one that a manifest has already, if any."""
        if not earlier:
            return self
        intercept = self.slope * earlier["intercept"] + self.intercept
        return replace(self, slope=self.slope * earlier["slope"], intercept=intercept)

    def content(self) -> dict[str, object]:
        """Plain values for the manifest."""
        return {
            "method": "Platt: slope and intercept of the logit, folded into the last layer",
            "slope": self.slope,
            "intercept": self.intercept,
            "examinations": self.examinations,
            "positives": self.positives,
            "on": "the validation examinations of statistics, or all if they are fresh",
        }


def calibrate(logits: NDArray[np.float64], labels: NDArray[np.bool_]) -> Calibration:
    """Fit slope and intercept by maximum likelihood, with Newton's method.

    Parameters
    ----------
    logits, labels
        ``(N,)`` each; a label is True for metastasis.

    Raises
    ------
    UsageError
        All labels are equal.
    ModelError
        The likelihood has no maximum, or the scores fall where the share of metastases rises.
    """
    if labels.all() or not labels.any():
        raise UsageError("the validation examinations are of one class: a calibration needs both")
    slope, intercept = _fit_logistic(logits, labels)
    if not slope > 0.0:
        raise ModelError(
            "the scores cannot be calibrated: they separate the validation examinations completely, or do not rise "
            "with the share of metastases. Give more examinations, or leave --calibrate out"
        )
    return Calibration(slope, intercept, len(labels), int(labels.sum()))


def _fit_logistic(logits: NDArray[np.float64], labels: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and intercept of the logistic regression by Newton's method; NaN if the likelihood has no maximum."""
    inputs, weights = np.stack([logits, np.ones_like(logits)], axis=1), np.array([1.0, 0.0])
    for _ in range(_STEPS):
        predicted = 1.0 / (1.0 + np.exp(-np.clip(inputs @ weights, -_LARGEST, _LARGEST)))
        curvature = inputs.T @ (inputs * (predicted * (1.0 - predicted))[:, np.newaxis])
        try:
            step = np.linalg.solve(curvature, inputs.T @ (labels - predicted))
        except np.linalg.LinAlgError:
            break
        weights += step
        if np.abs(step).max() < _SMALLEST_STEP:
            return float(weights[0]), float(weights[1])
    return np.nan, np.nan


def fold_into(model: ModelProto, calibration: Calibration) -> None:
    """Multiply the last layer by the slope and add the intercept to its second bias, in float32 and in place.

    Raises
    ------
    ModelError
        The last layer has no bias.
    """
    kernel, bias = (_as_float32(model, f"{_LAYER}/{name}") for name in ("kernel", "bias"))
    helper = toolchain.package("onnx.numpy_helper")
    for tensor, shift in ((kernel, 0.0), (bias, np.array([0.0, calibration.intercept]))):
        values = helper.to_array(tensor).astype(np.float64) * calibration.slope + shift
        tensor.CopyFrom(helper.from_array(values.astype(np.float32), tensor.name))


def _as_float32(model: ModelProto, name: str) -> TensorProto:
    """Return an initialiser, after removing the Cast behind one that is stored as float16."""
    graph = model.graph
    tensor = next((tensor for tensor in graph.initializer if tensor.name == name), None)
    if tensor is None:
        raise ModelError(f"the graph has no {name}: its scores cannot be calibrated")
    for cast in [node for node in graph.node if node.op_type == "Cast" and node.input[0] == name]:
        for node in graph.node:
            node.input[:] = [name if read == cast.output[0] else read for read in node.input]
        graph.node.remove(cast)
    return tensor
