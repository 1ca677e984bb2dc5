"""The plan of a phantom set, the assignment of each study, and the summary of the written set."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from bsbatch_build.phantom.centres import CENTRES, CameraInstallation, Centre

_MOST_STUDIES = 1_000_000


class Split(StrEnum):
    """Use of an examination in training; centre C is the external test set."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class Difficulty(StrEnum):
    """Difficulty of separating the two classes."""

    DEFAULT = "default"
    """Faint lesions, and benign foci that resemble metastases."""
    EASY = "easy"
    """Bright lesions and nothing that resembles them: for tests of training, no measure of a classifier."""


@dataclass(frozen=True, slots=True)
class SetPlan:
    """A set of synthetic examinations; equal plans give equal bytes."""

    studies: int
    """Number of examinations with a label, at least 1."""
    seed: int
    """Not negative."""
    centres: tuple[str, ...] = ("A", "B", "C")
    """Names out of A, B and C, without repetition."""
    clutter: bool = True
    """True if the archive also holds the other objects and faults of a PACS export."""
    difficulty: Difficulty = Difficulty.DEFAULT
    containers: bool = False
    """True if some studies lie in zips and tars, and some objects are compressed."""

    def __post_init__(self) -> None:
        """Raise ValueError if a field is out of range."""
        if not 1 <= self.studies <= _MOST_STUDIES:
            raise ValueError(f"studies must be 1 to {_MOST_STUDIES:,}, not {self.studies}.")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, but is {self.seed}.")
        unknown = sorted(set(self.centres) - set(CENTRES))
        if unknown or not self.centres:
            known = ", ".join(CENTRES)
            raise ValueError(f"centres must be some of {known}, not {', '.join(unknown) or 'none'}.")
        if len(set(self.centres)) != len(self.centres):
            raise ValueError("centres must not name one centre twice.")


@dataclass(frozen=True, slots=True)
class SetSummary:
    """Numbers of studies and files written."""

    studies: int
    positives: int
    files: int
    used: int
    skipped: int
    failed: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """Centre, camera, class and split of a study, decided before anything is drawn."""

    index: int
    centre: Centre
    installation: CameraInstallation
    positive: bool
    split: Split
    difficulty: Difficulty = Difficulty.DEFAULT


_STEPS = np.array([0.7548776662466927, 0.4142135623730951, 0.5698402909980532, 0.7320508075688772])
"""Steps of centre, camera, class and split: the R2 sequence of M. Roberts (2018) for centre and class,
the fractions of the roots of 2 and 3 for the others."""

_VALIDATION = 164 / 1367
"""Share of centres A and B in the paper's validation set."""


def assign(plan: SetPlan, index: int) -> Assignment:
    """Choose centre, camera, class and split of study ``index``.

    A low-discrepancy sequence keeps small sets balanced. Each study stays independent of the number
    of studies.
    """
    start = np.random.default_rng(np.random.SeedSequence([plan.seed])).random(len(_STEPS))
    hospital, camera, disease, split_position = (start + (index + 1) * _STEPS) % 1.0
    centres = [CENTRES[name] for name in plan.centres]
    centre = centres[_pick([centre.patients for centre in centres], float(hospital))]
    installation = centre.installations[_pick([one.share for one in centre.installations], float(camera))]
    positive = bool(disease < centre.positives / centre.patients)
    if centre.test:
        return Assignment(index, centre, installation, positive, Split.TEST, plan.difficulty)
    split = Split.VALIDATION if split_position < _VALIDATION else Split.TRAIN
    return Assignment(index, centre, installation, positive, split, plan.difficulty)


def _pick(weights: list[float] | list[int], position: float) -> int:
    edges = np.cumsum(weights) / np.sum(weights)
    return min(int(np.searchsorted(edges, position, side="right")), len(weights) - 1)
