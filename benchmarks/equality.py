"""Both sides must have done the same work before a time counts."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-5
"""Largest difference of a probability between two programs that run one model in fp32."""


class DifferentResultsError(Exception):
    """The two sides did not do the same work: their times must not be compared."""


def assert_same_scores(ours: Mapping[str, float], theirs: Mapping[str, float], name: str) -> float:
    """Hold probabilities by SOP Instance UID against each other; gives the largest difference.

    Raises
    ------
    DifferentResultsError
        Other examinations, other probabilities, or probabilities that tell no two examinations apart.
    """
    if set(ours) != set(theirs):
        lacks, adds = len(set(ours) - set(theirs)), len(set(theirs) - set(ours))
        raise DifferentResultsError(f"{name}: {lacks} of our {len(ours)} examinations are missing, {adds} are strange")
    difference = float(np.max([abs(ours[uid] - theirs[uid]) for uid in ours], initial=0.0))  # NaN stays NaN
    if not difference <= TOLERANCE:
        raise DifferentResultsError(f"{name}: a probability differs by {difference:.1e}, more than {TOLERANCE:g}")
    if len(ours) > 1 and max(ours.values()) - min(ours.values()) <= TOLERANCE:
        raise DifferentResultsError(f"{name}: all probabilities are the same, so equality would show nothing")
    return difference


def assert_same_arrays(ours: Sequence[NDArray[np.float32]], theirs: Sequence[NDArray[np.float32]]) -> None:
    """Hold images against each other, in their order and to the last bit.

    Raises
    ------
    DifferentResultsError
        Another number of images, or a pixel differs.
    """
    if len(ours) != len(theirs):
        raise DifferentResultsError(f"we made {len(ours)} images, the peer {len(theirs)}")
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        if not np.array_equal(one, other):
            raise DifferentResultsError(f"image {number} differs")


def assert_same_verdicts(ours: Mapping[str, str], theirs: Mapping[str, str]) -> None:
    """Hold the reason for every file against each other.

    Raises
    ------
    DifferentResultsError
        Other files, or another reason.
    """
    if set(ours) != set(theirs):
        raise DifferentResultsError(f"we decided on {len(ours)} files, the peer on {len(theirs)}, and not on the same")
    wrong = [source for source in ours if ours[source] != theirs[source]]
    if wrong:
        source = wrong[0]
        raise DifferentResultsError(f"{source}: {ours[source]} against {theirs[source]}, and {len(wrong) - 1} more")
