"""Comparison of heat maps with lesion masks.

Only true positives are compared: their heat map is for metastasis, and they have lesions. The geometry is that of the
model's image, in which a cell of a heat map has 16 x 16 pixels; heat maps are enlarged bilinearly, as in overlays.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import UsageError
from bsbatch.evaluation.bootstrap import Interval, bootstrap
from bsbatch.evaluation.cohort import Cohort, load_of
from bsbatch.evaluation.masks import Lesions, read_lesions
from bsbatch.evaluation.results import read_maps, read_views
from bsbatch.evaluation.sample import Floats, Mask
from bsbatch.evaluation.settings import EvaluationConfig
from bsbatch.geometry import CAM_COLUMNS, CELL

TOLERANCE = 15
"""Largest distance in pixels from peak to lesion that counts as a hit (Zhang et al., IJCV 2018;126:1084-1102)."""
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Thresholds that make a segmentation of a heat map."""
_SIZES = (("under 1/4 cell", 0, 0.25), ("1/4 to 1 cell", 0.25, 1), ("over 1 cell", 1, np.inf))
"""Name, smallest and largest size of the largest lesion, in cells of a heat map."""

CellValues = NDArray[np.float32]
"""Values of a heat map or half of one."""


@dataclass(frozen=True, slots=True)
class TruePositive:
    """One true positive with heat map and masks."""

    index: int
    """In the cohort."""
    lesions: int
    largest: float
    """Area of the largest lesion, in cells of a heat map."""
    metrics: dict[str, float]
    """By name, each in [0, 1]."""


@dataclass(frozen=True, slots=True)
class LocalisedGroup:
    """True positives of one kind."""

    kind: str
    """all, lesions or size."""
    name: str
    n: int
    metrics: dict[str, Interval]
    """Means over the examinations, with their intervals."""


@dataclass(frozen=True, slots=True)
class Localisation:
    """Agreement of heat maps with lesions, and counts of positives that are not compared."""

    groups: tuple[LocalisedGroup, ...]
    """First the group of all true positives."""
    missed: int
    """Positives that were predicted negative: their heat map is for the other class."""
    without_map: int
    without_mask: int
    without_lesion: int
    """Positives with empty masks."""


def localise(cohort: Cohort, config: EvaluationConfig) -> Localisation | None:
    """Compare the heat maps of the true positives with their masks; None without ``--masks``.

    Raises
    ------
    UsageError
        The run has no heat maps, a mask is no image, or there is nothing to compare.
    """
    if config.masks is None:
        return None
    maps, views = read_maps(config.results), read_views(config.results)
    excluded = {"missed": 0, "without_map": 0, "without_mask": 0, "without_lesion": 0}
    compared: list[TruePositive] = []
    for index, case in enumerate(cohort.cases):
        if case.label.is_positive:
            lesions = partial(read_lesions, config.masks, case.label.study_uid, views.get(case.examination.exam_id))
            result = _compare_positive(index, maps[case.examination.exam_id], lesions)
            if isinstance(result, TruePositive):
                compared.append(result)
            else:
                excluded[result] += 1
    if not compared:
        raise UsageError(
            f"no true positive has a heat map and masks with a lesion in {config.masks} "
            f"({', '.join(f'{name}: {count}' for name, count in excluded.items())}): "
            "check --masks, and run with --cam positive"
        )
    groups = tuple(_group(kind, name, members, cohort, config) for kind, name, members in _groups_of(compared))
    return Localisation(groups, **excluded)


def compare(cells: CellValues, lesions: Lesions) -> dict[str, float]:
    """Compare one heat map with its masks.

    Parameters
    ----------
    cells
        ``(32, 32)`` in [0, 1], anterior left.
    lesions
        At least one lesion.

    Returns
    -------
    dict[str, float]
        ``pointing_game``: 1 if the peak is on a lesion or within 15 pixels of one in the same view, else 0.
        ``energy_inside``: share of the heat map's sum inside the masks (Wang et al., CVPR Workshops 2020).
        ``mask_share``: share of the image inside the masks, equal to the energy inside for a uniform heat map.
        ``dice_0.5``, ``iou_0.5`` and so on: overlap of the masks with the heat map from that value on.
    """
    heat = np.hstack([_enlarge(half) for half in np.hsplit(cells, 2)])
    inside = lesions.inside
    total = float(heat.sum(dtype=np.float64))
    metrics = {
        "pointing_game": float(_is_hit(cells, inside)),
        "energy_inside": float(heat[inside].sum(dtype=np.float64)) / total if total > 0 else 0.0,
        "mask_share": float(inside.mean()),
    }
    for level in LEVELS:
        marked = heat >= level
        both, sizes = int((marked & inside).sum()), int(marked.sum()) + int(inside.sum())
        metrics[f"dice_{level}"], metrics[f"iou_{level}"] = 2 * both / sizes, both / (sizes - both)
    return metrics


def _compare_positive(
    index: int, heat_map: tuple[bool, CellValues | None], read: Callable[[], Lesions | None]
) -> TruePositive | str:
    """Compare the heat map of a positive with its masks, or name the reason for not comparing."""
    is_predicted, cells = heat_map
    if not is_predicted:
        return "missed"
    if cells is None:
        return "without_map"
    lesions = read()
    if lesions is None:
        return "without_mask"
    if not lesions.inside.any():
        return "without_lesion"
    return TruePositive(index, lesions.count, lesions.largest / CELL**2, compare(cells, lesions))


def _enlarge(half: CellValues) -> CellValues:
    rows, columns = half.shape[0] * CELL, half.shape[1] * CELL
    return np.asarray(cv2.resize(np.ascontiguousarray(half), (columns, rows), interpolation=cv2.INTER_LINEAR))


def _is_hit(cells: CellValues, inside: Mask) -> bool:
    """True if the peak is near a lesion. Distances count within a view only: the views are no neighbours in space."""
    row, column = divmod(int(cells.argmax()), 2 * CAM_COLUMNS)
    side = column // CAM_COLUMNS
    outside = np.ascontiguousarray(~np.hsplit(inside, 2)[side]).astype(np.uint8)
    if outside.all() or not cells.any():
        return False
    distance = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    middle = (row * CELL + CELL // 2, (column % CAM_COLUMNS) * CELL + CELL // 2)
    return bool(distance[middle] <= TOLERANCE)


def _groups_of(compared: list[TruePositive]) -> Iterator[tuple[str, str, list[TruePositive]]]:
    yield "all", "true positives", compared
    for name in dict.fromkeys(load_of(item.lesions) for item in sorted(compared, key=lambda item: item.lesions)):
        yield "lesions", name, [item for item in compared if load_of(item.lesions) == name]
    for name, least, most in _SIZES:
        members = [item for item in compared if least <= item.largest < most]
        if members:
            yield "size", name, members


def _group(
    kind: str, name: str, members: list[TruePositive], cohort: Cohort, config: EvaluationConfig
) -> LocalisedGroup:
    chosen = np.zeros(cohort.sample.size, bool)
    chosen[[item.index for item in members]] = True
    values = {metric: np.array([item.metrics[metric] for item in members]) for metric in members[0].metrics}

    def compute(weights: Floats) -> Mapping[str, Floats]:
        return {metric: weights @ column / weights.sum(axis=1) for metric, column in values.items()}

    replicates = bootstrap(cohort.sample.take(chosen), config.resampling, compute)
    means = {metric: replicates.interval(metric, float(column.mean())) for metric, column in values.items()}
    return LocalisedGroup(kind, name, len(members), means)
