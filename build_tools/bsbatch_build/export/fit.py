"""Fits the distance from the training data and the calibration of a model to examinations with labels.

The moments come from training examinations, the limit of the distance and the calibration from validation ones. In many
dimensions an examination lies nearer to moments that it helped to estimate.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsbatch.backends.onnx_session import open_session
from bsbatch.errors import ModelError, UsageError
from bsbatch.evaluation.labels import Label, read_labels
from bsbatch.models.directory import DISTANCE, Manifest
from bsbatch_build import toolchain
from bsbatch_build.checks.export_check import TOLERANCE
from bsbatch_build.export.calibration import Calibration, calibrate, fold_into
from bsbatch_build.export.convert import INPUT, OUTPUT, to_bytes
from bsbatch_build.export.distance import Moments, add_distance, has_features
from bsbatch_build.export.features import read_scores
from bsbatch_build.export.onnx_types import ModelProto
from bsbatch_build.training.dataset import open_dataset
from bsbatch_build.training.split import SplitSettings, Subset, count_studies, divide

PERCENTILE = 99.5
"""Percentile of the validation examinations' distances that is the limit."""
_FRESH_SHARE = 0.5
_FEWEST = 20
"""Examinations of each set at least; far more are needed for a limit that means something."""
_CHECKED = 4
"""Images by which the fitted graph is compared with the fit."""
DISTANCE_TOLERANCE = 1e-3
"""Largest relative difference of a distance in float32."""

Features = NDArray[np.float32]
OnImage = Callable[[], object]
"""Called after each image is scored."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """Examinations that a model is fitted to."""

    archive: Path
    labels: Path
    cache: Path
    """Folder of the preprocessed images, see `bsbatch_build.training.dataset.open_dataset`."""
    is_fresh: bool = False
    """True if no examination was trained on: half of the patients give the moments, the others the limit, and all the
    calibration."""
    is_calibrated: bool = False
    """Calibrate the scores, too."""

    def divide(self, labels: Mapping[str, Label], training: Mapping[str, Any]) -> dict[str, Subset]:
        """Assign every study to a set, as its training did unless it is fresh.

        Parameters
        ----------
        labels
            Study Instance UID -> label.
        training
            See `bsbatch.models.directory.Manifest.training`.
        """
        split = training.get("split", {})
        settings = SplitSettings(**split | ({"external": tuple(split["external"])} if split else {}))
        if not self.is_fresh:
            return divide(labels, settings)
        unsplit = {uid: replace(label, split=None) for uid, label in labels.items()}
        return divide(unsplit, replace(settings, validation_share=_FRESH_SHARE))


@dataclass(frozen=True, slots=True, eq=False)
class _Examinations:
    """Labelled examinations of both sets."""

    images: NDArray[np.float32]
    """Of the first few of them, ``(N, 1, 512, 512)``."""
    features: Features
    logits: NDArray[np.float64]
    labels: NDArray[np.bool_]
    is_validation: NDArray[np.bool_]
    studies: dict[str, dict[str, int]]


def fit(model: ModelProto, manifest: Manifest, settings: FitSettings, on_image: OnImage = lambda: None) -> Manifest:
    """Add the distance to a graph and, if wanted, fold a calibration into its last layer; the graph changes in place.

    Returns
    -------
    The manifest with limit, statistics, calibration, and the threshold at the same point of the ROC curve.

    Raises
    ------
    ModelError
        The head is not the paper's, the graph has a distance, or its scores do not rise with the label.
    UsageError
        There are too few examinations, or none of a class.
    """
    if not has_features(model.graph) or manifest.distance_name is not None:
        raise ModelError(f"{manifest.name} has a distance, or another head than the paper's: it cannot be fitted")
    found = _read(model, manifest, settings, on_image)
    fitted, logits = manifest, found.logits
    if settings.is_calibrated:
        unseen = found.is_validation | settings.is_fresh
        calibration = calibrate(logits[unseen], found.labels[unseen])
        fold_into(model, calibration)
        fitted = _with_calibration(manifest, calibration)
        logits = calibration.slope * logits + calibration.intercept
    moments, statistics = _estimate(found, is_fresh=settings.is_fresh)
    add_distance(model, moments)
    distances = distances_of(found.features, moments)
    _check(model, found.images, logits, distances)
    limit = float(np.percentile(distances[found.is_validation], PERCENTILE))
    return replace(fitted, distance_name=DISTANCE, distance_limit=limit, statistics=statistics)


def _estimate(found: _Examinations, *, is_fresh: bool) -> tuple[Moments, dict[str, object]]:
    """Estimate the moments of the training examinations; return them with their origin for the manifest."""
    moments, shrinkage = estimate_moments(found.features[~found.is_validation])
    statistics = {
        "studies": found.studies,
        "is_fresh": is_fresh,
        "examinations": int(np.sum(~found.is_validation)),
        "validation": int(np.sum(found.is_validation)),
        "percentile": PERCENTILE,
        "shrinkage": shrinkage,
    }
    return moments, statistics


def estimate_moments(features: Features) -> tuple[Moments, float]:
    """Estimate the moments of features ``(N, channels)``; return them with the shrinkage of the covariance.

    The offset is the median of the channels' means, those that are always 0 aside. Ledoit and Wolf, J Multivar Anal
    2004;88:365-411: the covariance is drawn towards a multiple of the identity. It can then be inverted, even where
    channels are constant or there are fewer examinations than channels.
    """
    means = features.mean(axis=0, dtype=np.float64)
    offset = float(np.median(means[means > 0]))
    logarithms = np.log(features.astype(np.float64) + offset)
    shrunk = toolchain.package("sklearn.covariance").LedoitWolf().fit(logarithms)
    values, vectors = np.linalg.eigh(shrunk.covariance_)
    whitening = (vectors / np.sqrt(values)).astype(np.float32)
    return Moments(offset, shrunk.location_.astype(np.float32), whitening), float(shrunk.shrinkage_)


def distances_of(features: Features, moments: Moments) -> NDArray[np.float32]:
    """Compute the squared Mahalanobis distances ``(N,)`` of features ``(N, channels)`` as the graph does."""
    logarithms = np.log(features + np.float32(moments.offset))
    return np.asarray(np.sum(((logarithms - moments.mean) @ moments.whitening) ** 2, axis=1), np.float32)


def _check(model: ModelProto, images: Features, logits: NDArray[np.float64], distances: Features) -> None:
    """Compare the fitted graph in ONNX Runtime with the formulas; raises `ModelError` if it differs."""
    session = open_session(to_bytes(model), "the fitted graph")
    for index, image in enumerate(images):
        probabilities, (distance,) = session.run([OUTPUT, DISTANCE], {INPUT: image[np.newaxis]})
        expected = 1.0 / (1.0 + exp(-logits[index]))
        if not (
            abs(float(probabilities[0, 1]) - expected) <= TOLERANCE
            and abs(float(distance) - distances[index]) <= DISTANCE_TOLERANCE * distances[index]
        ):
            raise ModelError(
                "the fitted graph gives another probability or distance than the fit: use the versions in "
                "constraints.txt, or leave --archive out"
            )


def _read(model: ModelProto, manifest: Manifest, settings: FitSettings, on_image: OnImage) -> _Examinations:
    labels = read_labels(settings.labels).labels
    subsets = settings.divide(labels, manifest.training)
    data = open_dataset(settings.archive, settings.cache)
    wanted = (Subset.TRAIN, Subset.VALIDATION)
    uids = [exam.study_uid or "" for exam in data.exams]
    rows = [index for index, uid in enumerate(uids) if subsets.get(uid) in wanted]
    is_validation = np.array([subsets[uids[row]] is Subset.VALIDATION for row in rows], bool)
    many = int(is_validation.sum())
    if min(many, len(rows) - many) < _FEWEST:
        raise UsageError(
            f"{settings.archive} has {len(rows) - many} examinations to train and {many} to validate with a label: "
            f"give an archive with {_FEWEST} of each at least"
        )
    features, scores = read_scores(model, (data.images[row] for row in rows), on_image)
    logits = scores[:, 1].astype(np.float64) - scores[:, 0]
    positive = np.array([labels[uids[row]].is_positive for row in rows], bool)
    images = np.asarray(data.images[rows[:_CHECKED]], np.float32)[:, np.newaxis]
    return _Examinations(images, features, logits, positive, is_validation, count_studies(labels, subsets))


def _with_calibration(manifest: Manifest, calibration: Calibration) -> Manifest:
    """Record a calibration, and move the threshold to the same point of the ROC curve."""
    threshold = manifest.threshold
    if 0.0 < threshold < 1.0:
        logit = calibration.slope * log(threshold / (1.0 - threshold)) + calibration.intercept
        threshold = 1.0 / (1.0 + exp(-logit))
    return replace(manifest, threshold=threshold, calibration=calibration.after(manifest.calibration).content())
