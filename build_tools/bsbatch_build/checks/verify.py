"""Holds the backends that are installed against the Keras network, on golden examinations."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsbatch.config import Effort
from bsbatch.errors import MissingPackageError, ModelError, OtherGraphError, UsageError
from bsbatch.imaging import preprocess
from bsbatch.models.directory import KERAS, Model
from bsbatch.registry import BACKENDS
from bsbatch_build.checks.export_check import keras_probabilities
from bsbatch_build.checks.golden import CENTRE, golden_examinations
from bsbatch_build.checks.restore import restore
from bsbatch_build.network.weights import load_other

TOLERANCES = {"fp32": 1e-5, "fp16": 5e-3}
"""Largest difference of a probability that passes, by the precision that a backend computes in."""
FAKE = "fake"
EXAMINATIONS = 16
VERSION = 1
NOTICE = "research use only, not for clinical use"

Probabilities = NDArray[np.float32]
"""``(N, 2)``, column 1 metastasis."""
OnStep = Callable[[str], object]
"""Told of every examination that was made or scored, and by whom."""


@dataclass(frozen=True, slots=True)
class ParitySettings:
    """What to compare."""

    folder: Path
    """Model directory."""
    examinations: int = EXAMINATIONS
    """Golden examinations."""
    seed: int = 0
    """Seed of the phantoms."""
    backends: tuple[str, ...] = ()
    """Names out of `bsbatch.registry.BACKENDS`; all that work here where empty."""

    def __post_init__(self) -> None:
        """Refuse backends that nothing could be compared with."""
        known = [name for name in BACKENDS if name != FAKE]
        unknown = sorted(set(self.backends) - set(known))
        if unknown:
            raise UsageError(f"--backend {unknown[0]}: there is no such backend of a model; give {', '.join(known)}")

    @property
    def chosen(self) -> tuple[str, ...]:
        """Names of the backends, fastest first.

        Raises
        ------
        MissingPackageError
            One that was asked for is not installed, or none is.
        """
        wanted = self.backends or [name for name, part in BACKENDS.items() if name != FAKE and part.why_not is None]
        missing = [f"{name}: {BACKENDS[name].missing}" for name in wanted if BACKENDS[name].missing]
        if missing or not wanted:
            lines = missing or [f"{name}: {part.why_not}" for name, part in BACKENDS.items() if part.why_not]
            raise MissingPackageError(f"not installed here: {'; '.join(lines)}")
        return tuple(name for name in BACKENDS if name in wanted)

    @property
    def steps(self) -> int:
        """How often `compare` tells of an examination."""
        return self.examinations * (2 + len(self.chosen))


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What the Keras network gives, and what is true."""

    probabilities: Probabilities
    labels: NDArray[np.bool_]
    """``(N,)``, both classes."""
    threshold: float
    """Positive from this probability on, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class BackendParity:
    """How far a backend is from the Keras network."""

    backend: str
    precision: str
    tolerance: float
    """Largest difference that passes at this precision."""
    difference: float
    """Largest absolute difference of a probability."""
    mean_difference: float
    """Mean absolute difference of a probability."""
    flips: int
    """Examinations that Keras and the backend label differently, and that lie away from the threshold."""
    flips_at_threshold: int
    """The same of examinations that Keras puts within the tolerance of the threshold, where either label is right."""
    auc_difference: float
    """ROC AUC of the backend less that of Keras."""

    @property
    def holds(self) -> bool:
        """Whether the backend may stand for the network; False for differences that are not numbers."""
        return self.difference <= self.tolerance and self.flips == 0


@dataclass(frozen=True, slots=True)
class ParityReport:
    """A model in every backend."""

    model: Model
    settings: ParitySettings
    positives: int
    """Golden examinations with lesions."""
    auc: float
    """ROC AUC of Keras on the golden examinations; too few of them to say how good the model is."""
    backends: tuple[BackendParity, ...]
    not_for: tuple[str, ...] = ()
    """Backends that are for graphs of another kind."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Backends that do not take the model here, and why."""

    def check(self) -> None:
        """Refuse a model that a backend does not give back.

        Raises
        ------
        ModelError
            A difference is above its tolerance, a label flips away from the threshold, or a backend refuses the model.
        """
        wrong = [
            f"{parity.backend} differs by {parity.difference:.2g} ({parity.tolerance:g} passes at "
            f"{parity.precision}) and flips {parity.flips} labels"
            for parity in self.backends
            if not parity.holds
        ]
        wrong += [f"{name} refuses it: {why}" for name, why in self.refused.items()]
        if wrong:
            raise ModelError(
                f"{self.settings.folder} is not the same model everywhere: {'; '.join(wrong)}. Do not run it on these "
                "backends; use the versions in constraints.txt, or export it again"
            )

    def content(self) -> dict[str, Any]:
        """Plain values, None where a figure is not a number."""
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
            "backends": [_plain(parity) for parity in self.backends],
            "not_for": list(self.not_for),
            "refused": dict(self.refused),
        }


def compare(settings: ParitySettings, on_step: OnStep = lambda _: None) -> ParityReport:
    """Score golden examinations in Keras and in every backend.

    The Keras network is made of the weights in the model directory: what is compared is how they are computed with, not
    whether they are those that were trained.

    Raises
    ------
    ModelError
        The model directory cannot be used.
    UsageError
        The settings give no examinations of both classes, or a backend is not installed.
    BackendError
        A backend died.
    """
    names = settings.chosen
    model = Model.load(settings.folder, preprocess.VERSION)
    network = _network(model)
    golden = golden_examinations(settings.examinations, settings.seed, lambda: on_step("phantoms"))
    expected = _keras_probabilities(network, golden.images, on_step)
    reference = Reference(expected, golden.labels, model.manifest.threshold)
    compared: list[BackendParity] = []
    not_for: list[str] = []
    refused: dict[str, str] = {}
    for name in names:
        try:
            compared.append(_compared(name, model, golden.images, reference, on_step))
        except ModelError as error:
            if isinstance(error, OtherGraphError) and not settings.backends:
                not_for.append(name)
            else:
                refused[name] = str(error)
    return ParityReport(
        model,
        settings,
        positives=int(golden.labels.sum()),
        auc=auc(expected[:, 1], golden.labels),
        backends=tuple(compared),
        not_for=tuple(not_for),
        refused=refused,
    )


def _network(model: Model) -> Any:
    """Of the weights in the graph; the Keras model beside it where that is another network than the paper's."""
    try:
        return restore(model.graph)
    except ModelError as error:
        if KERAS not in model.manifest.files:
            raise ModelError(f"{error}; if it is another network than the paper's, with --keep-keras") from error
        return load_other(model.keras)


def held_against(reference: Reference, backend: str, precision: str, actual: Probabilities) -> BackendParity:
    """Compare what a backend gave with what Keras gave.

    Raises
    ------
    ModelError
        No tolerance is set for the precision.
    """
    if precision not in TOLERANCES:
        raise ModelError(f"the backend {backend} computes in {precision}, for which no tolerance is set: leave it out")
    tolerance = TOLERANCES[precision]
    expected, threshold = reference.probabilities, reference.threshold
    differences = np.abs(expected.astype(np.float64) - actual)
    is_flipped = (expected[:, 1] >= threshold) != (actual[:, 1] >= threshold)
    is_near = np.abs(expected[:, 1] - threshold) <= tolerance
    return BackendParity(
        backend,
        precision,
        tolerance,
        difference=float(np.max(differences)),
        mean_difference=float(np.mean(differences)),
        flips=int(np.sum(is_flipped & ~is_near)),
        flips_at_threshold=int(np.sum(is_flipped & is_near)),
        auc_difference=auc(actual[:, 1], reference.labels) - auc(expected[:, 1], reference.labels),
    )


def auc(scores: NDArray[np.float32], labels: NDArray[np.bool_]) -> float:
    """The chance that a positive scores above a negative, ties counting half; both classes must be there.

    Source: Hanley and McNeil, Radiology 1982;143:29-36. Here, because scikit-learn is not needed to make models.
    """
    positives, negatives = scores[labels][:, np.newaxis], scores[~labels]
    return float(np.mean((positives > negatives) + 0.5 * (positives == negatives)))


def _keras_probabilities(network: Any, images: NDArray[np.float32], on_step: OnStep) -> Probabilities:
    probabilities = []
    for image in images:
        probabilities.append(keras_probabilities(network, image))
        on_step("Keras")
    return np.concatenate(probabilities)


def _compared(
    name: str, model: Model, images: NDArray[np.float32], reference: Reference, on_step: OnStep
) -> BackendParity:
    """Score in batches of the backend's own size, as a run does."""
    probabilities = []
    with BACKENDS[name].load()(model, Effort()) as backend:
        for start in range(0, len(images), backend.batch_size):
            batch = images[start : start + backend.batch_size]
            probabilities.append(backend.infer(batch).probabilities)
            for _ in batch:
                on_step(name)
        precision: str = backend.precision
    return held_against(reference, name, precision, np.concatenate(probabilities))


def _plain(parity: BackendParity) -> dict[str, Any]:
    fields = {
        name: None if isinstance(value, float) and isnan(value) else value for name, value in asdict(parity).items()
    }
    return {**fields, "holds": parity.holds}
