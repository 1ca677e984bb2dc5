"""Checks that both sides computed the same results, before their times count."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-5
"""Largest allowed difference of a probability between two programs that run one model in fp32."""

MAP_TOLERANCE = 1e-4
"""Largest allowed difference of a heat map that is scaled to 1."""


class DifferentResultsError(Exception):
    """The two sides computed different results: their times must not be compared."""


def assert_same_scores(ours: Mapping[str, float], theirs: Mapping[str, float], name: str) -> float:
    """Compare probabilities by SOP Instance UID; return the largest difference.

    Raises
    ------
    DifferentResultsError
        Examinations or probabilities differ, or all probabilities are the same.
    """
    if set(ours) != set(theirs):
        lacks, adds = len(set(ours) - set(theirs)), len(set(theirs) - set(ours))
        raise DifferentResultsError(
            f"{name}: {lacks} of our {len(ours)} examinations are missing, {adds} are unknown to us"
        )
    difference = float(np.max([abs(ours[uid] - theirs[uid]) for uid in ours], initial=0.0))  # NaN stays NaN
    if not difference <= TOLERANCE:
        raise DifferentResultsError(f"{name}: a probability differs by {difference:.1e}, more than {TOLERANCE:g}")
    if len(ours) > 1 and max(ours.values()) - min(ours.values()) <= TOLERANCE:
        raise DifferentResultsError(f"{name}: all probabilities are the same, so equality would prove nothing")
    return difference


def assert_same_arrays(ours: Sequence[NDArray[np.float32]], theirs: Sequence[NDArray[np.float32]]) -> None:
    """Compare images in their order and to the last bit.

    Raises
    ------
    DifferentResultsError
        The number of images or a pixel differs.
    """
    if len(ours) != len(theirs):
        raise DifferentResultsError(f"we made {len(ours)} images, the peer {len(theirs)}")
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        if not np.array_equal(one, other):
            raise DifferentResultsError(f"image {number} differs")


def assert_same_maps(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> None:
    """Compare signed heat maps ``(N, 32, 32)``, each scaled to a largest magnitude of 1.

    Raises
    ------
    DifferentResultsError
        They differ by more than 1e-4, or a map is zero everywhere.
    """
    peaks = [np.abs(maps).max(axis=(1, 2), keepdims=True) for maps in (ours, theirs)]
    if min(float(peak.min()) for peak in peaks) == 0.0:
        raise DifferentResultsError("a heat map is empty, so equality would prove nothing")
    difference = float(np.max(np.abs(ours / peaks[0] - theirs / peaks[1])))
    if not difference <= MAP_TOLERANCE:
        raise DifferentResultsError(f"a heat map differs by {difference:.1e}, more than {MAP_TOLERANCE:g}")


def assert_same_verdicts(ours: Mapping[str, str], theirs: Mapping[str, str]) -> None:
    """Compare the reason code of every file.

    Raises
    ------
    DifferentResultsError
        The files or a reason differ.
    """
    if set(ours) != set(theirs):
        raise DifferentResultsError(f"our {len(ours)} files and the peer's {len(theirs)} files are not the same")
    wrong = [source for source in ours if ours[source] != theirs[source]]
    if wrong:
        source = wrong[0]
        raise DifferentResultsError(
            f"{source}: ours {ours[source]}, theirs {theirs[source]}; {len(wrong) - 1} more files differ"
        )
