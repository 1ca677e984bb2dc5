"""Ways to recognise images unlike the training data: each gives a number, which is larger for stranger images."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA

Values = NDArray[np.floating]
_NEIGHBOURS = 10
_COMPONENTS = 64


class Outputs(NamedTuple):
    """What a detector may look at, for N images."""

    features: Values
    """``(N, channels)``, those that the head reads."""
    logits: Values
    """``(N, 2)``, those that the softmax reads."""
    small: Values
    """``(N, 64 * 64)``, the images reduced."""
    labels: NDArray[np.bool_]
    """``(N,)``, True for metastasis; only of the images that a detector is fitted to."""


Detector = Callable[[Outputs], Values]
Fit = Callable[[Outputs], Detector]


def _mahalanobis(values: Callable[[Outputs], Values]) -> Fit:
    def fit(known: Outputs) -> Detector:
        estimate = LedoitWolf().fit(values(known))
        return lambda outputs: estimate.mahalanobis(values(outputs))

    return fit


def _mahalanobis_by_class(known: Outputs) -> Detector:
    """Lee et al., NeurIPS 2018: the nearest class mean, with the covariance of both classes."""
    groups = [known.features[known.labels == label] for label in (False, True)]
    means = [group.mean(axis=0) for group in groups]
    centred = np.concatenate([group - mean for group, mean in zip(groups, means, strict=True)])
    estimate = LedoitWolf(assume_centered=True).fit(centred)
    return lambda outputs: np.min([estimate.mahalanobis(outputs.features - mean) for mean in means], axis=0)


def _neighbours(known: Outputs) -> Detector:
    """Sun et al., ICML 2022: the distance to the tenth neighbour, of features of length 1."""
    stored = _normalise(known.features)

    def score(outputs: Outputs) -> Values:
        products = _normalise(outputs.features) @ stored.T
        return np.sort(2.0 - 2.0 * products, axis=1)[:, _NEIGHBOURS - 1]

    return score


def _reconstruction(values: Callable[[Outputs], Values]) -> Fit:
    """The error of the reconstruction from 64 principal components."""

    def fit(known: Outputs) -> Detector:
        basis = PCA(_COMPONENTS, random_state=0).fit(values(known))

        def score(outputs: Outputs) -> Values:
            given = values(outputs)
            return np.asarray(np.sum((basis.inverse_transform(basis.transform(given)) - given) ** 2, axis=1))

        return score

    return fit


def _normalise(features: Values) -> Values:
    return np.asarray(features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12))


def _log_features(known: Outputs) -> Detector:
    """That of bsbatch, see `bsbatch_build.export.distance`."""
    means = known.features.mean(axis=0)
    offset = float(np.median(means[means > 0]))
    return _mahalanobis(lambda outputs: np.log(outputs.features + offset))(known)


DETECTORS: Mapping[str, Fit] = {
    "distance": _log_features,
    "without logarithm": _mahalanobis(lambda outputs: outputs.features),
    "Lee, class means": _mahalanobis_by_class,
    "10th neighbour": _neighbours,
    "energy": lambda _: lambda outputs: -np.logaddexp(outputs.logits[:, 0], outputs.logits[:, 1]),
    "softmax": lambda _: lambda outputs: -np.abs(outputs.logits[:, 1] - outputs.logits[:, 0]),
    "PCA of features": _reconstruction(lambda outputs: outputs.features),
    "PCA of images": _reconstruction(lambda outputs: outputs.small),
}
"""Energy: Liu et al., NeurIPS 2020. Largest softmax output: Hendrycks and Gimpel, ICLR 2017; of two classes it grows
with the absolute logit."""
