"""Compares the installed backends with the Keras network on golden examinations."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isnan
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bsbatch.backends.onnxruntime import OnnxRuntimeBackend
from bsbatch.backends.registry import load_backend
from bsbatch.backends.requirements import REQUIREMENTS, usable_backends
from bsbatch.config import BackendName, Effort
from bsbatch.errors import MissingPackageError, ModelError, OtherGraphError, UsageError
from bsbatch.imaging import preprocess
from bsbatch.models.directory import KERAS, Model
from bsbatch.notice import NOTICE
from bsbatch.protocols import Backend, Images
from bsbatch.records import Inference
from bsbatch_build.checks.export_check import keras_probabilities
from bsbatch_build.checks.golden import CENTRE, golden_examinations
from bsbatch_build.checks.restore import restore
from bsbatch_build.network.weights import load_other
from bsbatch_build.toolchain import KerasModel

TOLERANCES = {"fp32": 1e-5, "fp16": 5e-3}
"""Largest allowed difference of a probability, by the precision of a backend."""
DISTANCE_TOLERANCES = {"fp32": 1e-3, "fp16": 1e-2}
"""Likewise of a distance from the training data, as a share of it."""
EXAMINATIONS = 16
VERSION = 2

Probabilities = NDArray[np.float32]
"""``(N, 2)``, column 1 metastasis."""
Distances = NDArray[np.float32]
"""``(N,)``, squared, at least 0."""
OnStep = Callable[[str], object]
"""Called with ``"phantoms"``, ``"Keras"`` or the backend's name after each examination that is made or scored."""


@dataclass(frozen=True, slots=True)
class VerifySettings:
    """Model, examinations and backends of a comparison."""

    folder: Path
    """Model directory."""
    examinations: int = EXAMINATIONS
    """Number of golden examinations."""
    seed: int = 0
    """Seed of the phantoms."""
    backends: tuple[str, ...] = ()
    """Names from `bsbatch.backends.requirements.REQUIREMENTS`; empty for all that work on this machine."""

    def __post_init__(self) -> None:
        """Refuse unknown backends, and the one that computes nothing."""
        known = [name for name in REQUIREMENTS if name != BackendName.FAKE]
        unknown = sorted(set(self.backends) - set(known))
        if unknown:
            raise UsageError(f"--backend {unknown[0]}: there is no such backend of a model; give {', '.join(known)}")

    @property
    def backend_names(self) -> tuple[str, ...]:
        """Names of the backends to compare, fastest first.

        Raises
        ------
        MissingPackageError
            A requested backend is not installed, or none works on this machine.
        """
        wanted = self.backends or usable_backends()
        missing = [f"{name}: {REQUIREMENTS[name].missing}" for name in wanted if REQUIREMENTS[name].missing]
        if missing:
            raise MissingPackageError(f"not installed here: {'; '.join(missing)}")
        return tuple(name for name in REQUIREMENTS if name in wanted)

    @property
    def steps(self) -> int:
        """Number of calls of ``on_step`` by `verify`."""
        return self.examinations * (2 + len(self.backend_names))


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Probabilities of the Keras network, and true labels."""

    probabilities: Probabilities
    labels: NDArray[np.bool_]
    """``(N,)``, of both classes."""
    threshold: float
    """Examinations of at least this probability are positive, in [0, 1]."""
    distances: Distances | None = None
    """Of ONNX Runtime at fp32, because the Keras network has none; None if the model has none."""

    def take(self, indices: NDArray[np.int64]) -> "Reference":
        """Return the reference of some examinations, which may repeat."""
        distances = None if self.distances is None else self.distances[indices]
        return Reference(self.probabilities[indices], self.labels[indices], self.threshold, distances)


@dataclass(frozen=True, slots=True)
class BackendDifference:
    """Differences between a backend and the Keras network."""

    backend: str
    precision: str
    tolerance: float
    """Largest allowed difference of a probability at this precision."""
    difference: float
    """Largest absolute difference of a probability."""
    mean_difference: float
    """Mean absolute difference of a probability."""
    flips: int
    """Examinations whose label differs and whose score in Keras is not within the tolerance of the threshold."""
    flips_at_threshold: int
    """Examinations whose label differs and whose score in Keras is within the tolerance of the threshold."""
    auc_difference: float
    """ROC AUC of the backend minus that of Keras."""
    distance_difference: float | None = None
    """Largest difference of a distance, as a share of it; None if it was not compared."""

    @property
    def is_within_tolerance(self) -> bool:
        """True if the backend may replace the network; False for differences that are not numbers."""
        is_near = (self.distance_difference or 0.0) <= DISTANCE_TOLERANCES[self.precision]
        return self.difference <= self.tolerance and self.flips == 0 and is_near

    @property
    def in_words(self) -> str:
        """The differences, for a message."""
        words = (
            f"differs by {self.difference:.2g} ({self.tolerance:g} passes at {self.precision}) and flips "
            f"{self.flips} labels"
        )
        share, most = self.distance_difference, DISTANCE_TOLERANCES[self.precision]
        return words if share is None else f"{words}; a distance differs by {share:.2g} of its value ({most:g} passes)"


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """Differences between each backend and the Keras network, for one model."""

    model: Model
    settings: VerifySettings
    positives: int
    """Golden examinations with lesions."""
    auc: float
    """ROC AUC of Keras on the golden examinations; they are too few to measure the quality of the model."""
    backends: tuple[BackendDifference, ...]
    not_for: tuple[str, ...] = ()
    """Backends for graphs of another kind."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Name of each backend that refuses the model -> reason."""

    def check(self) -> None:
        """Refuse a model that a backend does not reproduce.

        Raises
        ------
        ModelError
            A difference is above its tolerance, a label flips away from the threshold, or a backend refuses the model.
        """
        wrong = [
            f"{backend.backend} {backend.in_words}" for backend in self.backends if not backend.is_within_tolerance
        ]
        wrong += [f"{name} refuses it: {why}" for name, why in self.refused.items()]
        if wrong:
            raise ModelError(
                f"{self.settings.folder} is not the same model everywhere: {'; '.join(wrong)}. Do not run it on these "
                "backends; use the versions in constraints.txt, or export it again"
            )

    def summary(self) -> list[str]:
        """Lines for the terminal: model, examinations, threshold and AUC of Keras."""
        examinations, seed = self.settings.examinations, self.settings.seed
        return [
            f"model         {self.model.folder}",
            f"name          {self.model.manifest.name}",
            f"id            {self.model.model_id}",
            f"examinations  {examinations} phantoms, {self.positives} with metastasis, seed {seed}",
            f"threshold     {self.model.manifest.threshold:g}",
            f"Keras         ROC AUC {self.auc:.4f} on them",
        ]

    def rows(self) -> Iterator[tuple[bool, list[str]]]:
        """Yield for each backend whether it agrees with Keras, and the cells of its line in a table."""
        for backend in self.backends:
            cells = [
                backend.backend,
                backend.precision,
                f"{backend.difference:.1e}",
                f"{backend.tolerance:.0e}",
                "-" if backend.distance_difference is None else f"{backend.distance_difference:.1e}",
                f"{backend.flips} + {backend.flips_at_threshold}",
                f"{backend.auc_difference:+.4f}",
            ]
            yield backend.is_within_tolerance, [*cells, "agrees" if backend.is_within_tolerance else "differs"]
        for name in self.refused:
            yield False, [name, *["-"] * 6, "refuses"]

    def content(self) -> dict[str, object]:
        """Plain values for JSON; a metric that is NaN is None."""
        return {
            "version": VERSION,
            "notice": NOTICE,
            "model": self.model.manifest.name,
            "model_id": self.model.model_id,
            "threshold": self.model.manifest.threshold,
            "examinations": self.settings.examinations,
            "positives": self.positives,
            "centre": CENTRE,
            "seed": self.settings.seed,
            "auc": self.auc,
            "backends": [_plain(backend) for backend in self.backends],
            "not_for": list(self.not_for),
            "refused": dict(self.refused),
        }


def verify(settings: VerifySettings, on_step: OnStep = lambda _: None) -> VerifyReport:
    """Score golden examinations in Keras and in every backend, and compare.

    The Keras network gets the weights of the model directory. The comparison is of the arithmetic, and does not show
    that the weights are those of the training.

    Raises
    ------
    ModelError
        The model directory cannot be used.
    UsageError
        The settings give no examinations of both classes, or a backend is not installed.
    BackendError
        A backend died.
    """
    names = settings.backend_names
    model = Model.load(settings.folder, preprocess.VERSION)
    network = _network(model)
    golden = golden_examinations(settings.examinations, settings.seed, lambda: on_step("phantoms"))
    expected = _keras_probabilities(network, golden.images, on_step)
    reference = Reference(expected, golden.labels, model.manifest.threshold, _distances(model, golden.images))
    compared: list[BackendDifference] = []
    not_for: list[str] = []
    refused: dict[str, str] = {}
    for name in names:
        try:
            compared.append(_compare_backend(name, model, golden.images, reference, on_step))
        except ModelError as error:
            if isinstance(error, OtherGraphError) and not settings.backends:
                not_for.append(name)
            else:
                refused[name] = str(error)
    return VerifyReport(
        model,
        settings,
        positives=int(golden.labels.sum()),
        auc=auc(expected[:, 1], golden.labels),
        backends=tuple(compared),
        not_for=tuple(not_for),
        refused=refused,
    )


def _network(model: Model) -> KerasModel:
    """Build the network from the weights of the graph; if it is not the paper's, load the Keras model beside it."""
    try:
        return restore(model.graph)
    except ModelError as error:
        if KERAS not in model.manifest.files:
            raise ModelError(f"{error}; if it is another network than the paper's, with --keep-keras") from error
        return load_other(model.keras)


def _distances(model: Model, images: NDArray[np.float32]) -> Distances | None:
    if model.manifest.distance_limit is None:
        return None
    with OnnxRuntimeBackend(model, Effort()) as backend:
        return infer_all(backend, images, lambda _: None).distances


def compare_outputs(reference: Reference, backend: str, precision: str, actual: Inference) -> BackendDifference:
    """Compare the probabilities and distances of a backend with the reference.

    Raises
    ------
    ModelError
        No tolerance is set for the precision.
    """
    if precision not in TOLERANCES:
        raise ModelError(f"the backend {backend} computes in {precision}, for which no tolerance is set: leave it out")
    tolerance = TOLERANCES[precision]
    expected, threshold = reference.probabilities, reference.threshold
    probabilities = actual.probabilities
    differences = np.abs(expected.astype(np.float64) - probabilities)
    is_flipped = (expected[:, 1] >= threshold) != (probabilities[:, 1] >= threshold)
    is_near = np.abs(expected[:, 1] - threshold) <= tolerance
    return BackendDifference(
        backend,
        precision,
        tolerance,
        difference=float(np.max(differences)),
        mean_difference=float(np.mean(differences)),
        flips=int(np.sum(is_flipped & ~is_near)),
        flips_at_threshold=int(np.sum(is_flipped & is_near)),
        auc_difference=auc(probabilities[:, 1], reference.labels) - auc(expected[:, 1], reference.labels),
        distance_difference=_compare_distances(reference.distances, actual.distances),
    )


def _compare_distances(expected: Distances | None, actual: Distances | None) -> float | None:
    if expected is None or actual is None:
        return None
    return float(np.max(np.abs(expected.astype(np.float64) - actual) / np.maximum(expected, 1)))


def auc(scores: NDArray[np.float32], labels: NDArray[np.bool_]) -> float:
    """Probability that a positive scores above a negative, ties counting half; both classes must occur.

    Source: Hanley and McNeil, Radiology 1982;143:29-36. Computed here because making models does not need scikit-learn.
    """
    positives, negatives = scores[labels][:, np.newaxis], scores[~labels]
    return float(np.mean((positives > negatives) + 0.5 * (positives == negatives)))


def _keras_probabilities(network: KerasModel, images: NDArray[np.float32], on_step: OnStep) -> Probabilities:
    probabilities = []
    for image in images:
        probabilities.append(keras_probabilities(network, image))
        on_step("Keras")
    return np.concatenate(probabilities)


def _compare_backend(
    name: str, model: Model, images: NDArray[np.float32], reference: Reference, on_step: OnStep
) -> BackendDifference:
    with load_backend(name)(model, Effort()) as backend:
        outputs = infer_all(backend, images, lambda number: [on_step(name) for _ in range(number)])
        precision: str = backend.precision
    return compare_outputs(reference, name, precision, outputs)


def infer_all(backend: Backend, images: Images, on_batch: Callable[[int], object]) -> Inference:
    """Score images in batches of the backend's own size, as a run does."""
    parts: list[Inference] = []
    for start in range(0, len(images), backend.batch_size):
        batch = images[start : start + backend.batch_size]
        parts.append(backend.infer(batch))
        on_batch(len(batch))
    return join(parts)


def join(parts: Sequence[Inference]) -> Inference:
    """Put the probabilities and distances of batches together."""
    distances = [part.distances for part in parts if part.distances is not None]
    return Inference(
        np.concatenate([part.probabilities for part in parts]), np.concatenate(distances) if distances else None
    )


def _plain(backend: BackendDifference) -> dict[str, object]:
    fields = {
        name: None if isinstance(value, float) and isnan(value) else value for name, value in asdict(backend).items()
    }
    return {**fields, "holds": backend.is_within_tolerance}
