"""Golden examinations: phantoms of the external centre, made in memory and preprocessed by the engine."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import UsageError
from bsbatch.geometry import INPUT_SHAPE
from bsbatch.imaging.preprocess import compose
from bsbatch_build.phantom.archive import study_of
from bsbatch_build.phantom.plan import SetPlan, assign

CENTRE = "C"
"""The external test set: no model is trained on it."""


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """Examinations with their true labels."""

    images: NDArray[np.float32]
    """``(N, 1, 512, 512)`` in [0, 1]."""
    labels: NDArray[np.bool_]
    """``(N,)`` True for examinations with lesions; both classes occur."""


def golden_examinations(number: int, seed: int, on_step: Callable[[], object] = lambda: None) -> Golden:
    """Make the first examinations of ``bsbatch-build phantom --centre C --seed SEED`` in memory.

    They hold the counts before an archive encodes them: some of its dialects saturate at 255.

    Parameters
    ----------
    number
        Number of examinations.
    seed
        Equal seeds give equal images.
    on_step
        Called after each examination.

    Raises
    ------
    UsageError
        A number is out of range, or all examinations are of one class.
    """
    plan = _plan(number, seed)
    labels = np.asarray([assign(plan, index).positive for index in range(number)])
    if labels.all() or not labels.any():
        raise UsageError(
            f"the first {number} examinations of seed {seed} are of one class and give no AUC: "
            "give more --examinations, or another --seed"
        )
    images = np.empty((number, *INPUT_SHAPE), np.float32)
    for index in range(number):
        anterior, posterior = study_of(plan, index).views
        images[index, 0] = compose(anterior.astype(np.float32), posterior.astype(np.float32))
        on_step()
    return Golden(images, labels)


def _plan(number: int, seed: int) -> SetPlan:
    try:
        return SetPlan(number, seed, (CENTRE,), clutter=False)
    except ValueError as error:
        raise UsageError(f"golden examinations: {error}") from error
