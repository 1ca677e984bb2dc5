"""Calibrations are logistic regressions, and the last layer computes them without a change of the order."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnxruntime import InferenceSession
from sklearn.linear_model import LogisticRegression
from tests.build_tools.graphs import store_as_float16

from bsbatch.errors import ModelError, UsageError
from bsbatch.models.directory import GRAPH
from bsbatch_build.export.calibration import Calibration, calibrate, fold_into

NOISE = np.random.default_rng(0)
IMAGES = NOISE.random((6, 1, 512, 512), np.float32) ** np.arange(1, 7, dtype=np.float32).reshape(-1, 1, 1, 1)


def logits_of(graph: Any) -> NDArray[np.float64]:
    (pairs,) = InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"]).run(
        ["probabilities"], {"image": IMAGES}
    )
    logs = np.log(pairs.astype(np.float64))
    return np.asarray(logs[:, 1] - logs[:, 0])


@pytest.mark.parametrize(("slope", "intercept"), [(0.5, -1.0), (1.0, 0.0), (3.0, 2.0)])
def test_slope_and_intercept_are_those_of_scikit_learn(slope: float, intercept: float) -> None:
    random = np.random.default_rng(1)
    logits = random.normal(0, 3, 500)
    labels = random.random(500) < 1 / (1 + np.exp(-slope * logits - intercept))

    found = calibrate(logits, labels)

    expected = LogisticRegression(C=1e9, tol=1e-10).fit(logits.reshape(-1, 1), labels)
    assert found.slope == pytest.approx(expected.coef_[0, 0], rel=1e-4)
    assert found.intercept == pytest.approx(expected.intercept_[0], rel=1e-3, abs=1e-4)
    assert (found.examinations, found.positives) == (500, labels.sum())


def test_scores_that_separate_the_classes_or_fall_with_them_cannot_be_calibrated() -> None:
    logits = np.linspace(-3, 3, 40)
    noisy = (logits > 0) ^ (np.arange(40) % 4 == 0)

    assert calibrate(logits, noisy).slope > 0
    for labels in (logits > 0, ~noisy):
        with pytest.raises(ModelError, match="cannot be calibrated"):
            calibrate(logits, labels)
    with pytest.raises(UsageError, match="of one class"):
        calibrate(logits, np.ones(40, bool))


@pytest.mark.parametrize("is_half", [False, True])
def test_the_last_layer_computes_the_calibration(twin: Path, is_half: bool) -> None:
    graph = onnx.load(twin / GRAPH)
    if is_half:
        store_as_float16(graph.graph)
    before = logits_of(graph)

    fold_into(graph, Calibration(1.5, -0.25, 100, 30))

    after = logits_of(graph)
    np.testing.assert_allclose(after, 1.5 * before - 0.25, atol=1e-5)
    assert np.array_equal(np.argsort(after), np.argsort(before))
    onnx.checker.check_model(graph, full_check=True)


def test_a_second_calibration_is_recorded_as_one_of_both() -> None:
    earlier, later = Calibration(2.0, 1.0, 10, 5), Calibration(0.5, 0.25, 100, 30)

    both = later.after(earlier.content())

    assert (both.slope, both.intercept, both.examinations) == (1.0, 0.75, 100)
    assert later.after({}) == later


def test_a_graph_without_the_bias_is_refused(twin: Path) -> None:
    graph = onnx.load(twin / GRAPH)
    bias = next(tensor for tensor in graph.graph.initializer if tensor.name == "predictions/bias")
    graph.graph.initializer.remove(bias)

    with pytest.raises(ModelError, match="no predictions/bias"):
        fold_into(graph, Calibration(1.0, 0.0, 1, 1))
