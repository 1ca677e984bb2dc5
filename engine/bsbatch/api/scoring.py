"""Score one pair of views from Python."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bsbatch.api.choices import choice_of
from bsbatch.backends.registry import load_backend
from bsbatch.config import BackendName, Effort
from bsbatch.imaging.preprocess import VERSION, compose
from bsbatch.models.directory import Model
from bsbatch.pipeline.scores import is_beyond, scores_of
from bsbatch.run.autotune import choose


@dataclass(frozen=True, slots=True)
class Score:
    """What a model says of an examination. Research use only, not for clinical use."""

    p_metastasis: float
    """In [0, 1]."""
    threshold: float
    """The model's: smallest ``p_metastasis`` of a positive prediction."""
    logit: float
    """``ln(p / (1 - p))``, not rounded where ``p_metastasis`` is 0 or 1."""
    distance: float | None
    """Squared Mahalanobis distance from the training data; None if the model has no statistics of them."""
    is_unlike_training: bool
    """True if the distance is beyond the model's limit: do not trust the score."""

    @property
    def is_positive(self) -> bool:
        """True if metastasis is predicted."""
        return self.p_metastasis >= self.threshold


def score(
    anterior: NDArray[np.number],
    posterior: NDArray[np.number],
    *,
    model: Model | Path | str,
    backend: BackendName | str = BackendName.ONNXRUNTIME,
) -> Score:
    """Score two views. The model is loaded anew for each call: `screen` is the way for many.

    Parameters
    ----------
    anterior, posterior
        ``(rows, columns)`` counts of any type of number, head up; the posterior view as seen from behind.
    model
        A model, its directory, or ``"demo"``.
    backend
        Inference engine; the default starts fast.

    Raises
    ------
    ItemError
        ``all_zero`` or ``constant_image``: all pixels of a view are equal.
    ModelError
        The model cannot be used.
    """
    loaded = model if isinstance(model, Model) else open_model(model)
    image, name = compose(anterior, posterior), str(choice_of(BackendName, backend, "backend"))
    if name == BackendName.AUTO:
        name = choose(loaded, Effort(), lambda _: None)
    with load_backend(name)(loaded, Effort()) as entered:
        found = next(scores_of(entered.infer(image[np.newaxis, np.newaxis])))
    manifest = loaded.manifest
    is_unlike = is_beyond(found.distance, manifest.distance_limit)
    return Score(found.p_metastasis, manifest.threshold, found.logit, found.distance, is_unlike)


def open_model(folder: Path | str) -> Model:
    """Open a model directory and check its files.

    Parameters
    ----------
    folder
        The directory, or ``"demo"``.

    Raises
    ------
    ModelError
        It cannot be used.
    """
    return Model.load(Path(folder), VERSION)
