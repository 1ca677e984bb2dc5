"""Heat maps held against masks: whether what the model looked at is a lesion.

Of true positives alone: their map is for metastasis, and they have lesions. All of it in the geometry of the model's
image, where a cell of a map has 16 x 16 pixels; maps are stretched bilinearly, as overlays are.
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
"""Pixels from the peak to the nearest lesion that still count as a hit (Zhang et al., IJCV 2018;126:1084-1102)."""
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Values from which on a map counts as a segmentation."""
_SIZES = (("under 1/4 cell", 0, 0.25), ("1/4 to 1 cell", 0.25, 1), ("over 1 cell", 1, np.inf))
"""Of the largest lesion, cells of a map."""

Map = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Found:
    """One true positive."""

    place: int
    """In the cohort."""
    lesions: int
    largest: float
    """Cells of a map that the largest lesion takes."""
    figures: dict[str, float]
    """By name, each in [0, 1]."""


@dataclass(frozen=True, slots=True)
class LocalisedGroup:
    """True positives of one kind."""

    kind: str
    """all, lesions or size."""
    name: str
    n: int
    figures: dict[str, Interval]
    """Means over the examinations, with their intervals."""


@dataclass(frozen=True, slots=True)
class Localisation:
    """How well maps lie on lesions, and who does not take part."""

    groups: tuple[LocalisedGroup, ...]
    """All of them first."""
    missed: int
    """Positives that were predicted negative: their map is for the other class."""
    without_map: int
    without_mask: int
    without_lesion: int
    """Whose masks are empty."""


def localise(cohort: Cohort, config: EvaluationConfig) -> Localisation | None:
    """Hold the maps of the true positives against their masks; None without ``--masks``.

    Raises
    ------
    UsageError
        The run has no maps, a mask is no image, or nothing is left to be compared.
    """
    if config.masks is None:
        return None
    maps, views = read_maps(config.results), read_views(config.results)
    lacks = {"missed": 0, "without_map": 0, "without_mask": 0, "without_lesion": 0}
    found: list[Found] = []
    for place, case in enumerate(cohort.cases):
        if case.label.is_positive:
            lesions = partial(read_lesions, config.masks, case.label.study_uid, views.get(case.examination.exam_id))
            result = _found(place, maps[case.examination.exam_id], lesions)
            if isinstance(result, Found):
                found.append(result)
            else:
                lacks[result] += 1
    if not found:
        raise UsageError(
            f"no true positive has a map and masks with a lesion in {config.masks} "
            f"({', '.join(f'{name}: {count}' for name, count in lacks.items())}): "
            "check --masks, and run with --cam positive"
        )
    groups = tuple(_group(kind, name, members, cohort, config) for kind, name, members in _groups_of(found))
    return Localisation(groups, **lacks)


def figures_of(cells: Map, lesions: Lesions) -> dict[str, float]:
    """Compare one map with its masks.

    Parameters
    ----------
    cells
        ``(32, 32)`` in [0, 1], anterior left.
    lesions
        At least one.

    Returns
    -------
    dict[str, float]
        ``pointing_game``: 1 where the map's peak lies on a lesion or within 15 pixels of one in the same view.
        ``energy_inside``: share of the map's sum inside the masks (Wang et al., CVPR Workshops 2020).
        ``mask_share``: share of the image inside the masks, the energy of a map that is the same everywhere.
        ``dice_0.5``, ``iou_0.5`` and so on: of the map from that value on.
    """
    heat = np.hstack([_stretched(half) for half in np.hsplit(cells, 2)])
    inside = lesions.inside
    total = float(heat.sum(dtype=np.float64))
    figures = {
        "pointing_game": float(_is_hit(cells, inside)),
        "energy_inside": float(heat[inside].sum(dtype=np.float64)) / total if total > 0 else 0.0,
        "mask_share": float(inside.mean()),
    }
    for level in LEVELS:
        marked = heat >= level
        both, sizes = int((marked & inside).sum()), int(marked.sum()) + int(inside.sum())
        figures[f"dice_{level}"], figures[f"iou_{level}"] = 2 * both / sizes, both / (sizes - both)
    return figures


def _found(place: int, explained: tuple[bool, Map | None], read: Callable[[], Lesions | None]) -> Found | str:
    """The figures of a positive, or why it has none."""
    is_predicted, cells = explained
    if not is_predicted:
        return "missed"
    if cells is None:
        return "without_map"
    lesions = read()
    if lesions is None:
        return "without_mask"
    if not lesions.inside.any():
        return "without_lesion"
    return Found(place, lesions.count, lesions.largest / CELL**2, figures_of(cells, lesions))


def _stretched(half: Map) -> Map:
    rows, columns = half.shape[0] * CELL, half.shape[1] * CELL
    return np.asarray(cv2.resize(np.ascontiguousarray(half), (columns, rows), interpolation=cv2.INTER_LINEAR))


def _is_hit(cells: Map, inside: Mask) -> bool:
    """Distances are those within a view: the other one is not beside it, though it stands beside it."""
    row, column = divmod(int(cells.argmax()), 2 * CAM_COLUMNS)
    side = column // CAM_COLUMNS
    free = np.ascontiguousarray(~np.hsplit(inside, 2)[side]).astype(np.uint8)
    if free.all() or not cells.any():
        return False
    distance = cv2.distanceTransform(free, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    middle = (row * CELL + CELL // 2, (column % CAM_COLUMNS) * CELL + CELL // 2)
    return bool(distance[middle] <= TOLERANCE)


def _groups_of(found: list[Found]) -> Iterator[tuple[str, str, list[Found]]]:
    yield "all", "true positives", found
    for name in dict.fromkeys(load_of(item.lesions) for item in sorted(found, key=lambda item: item.lesions)):
        yield "lesions", name, [item for item in found if load_of(item.lesions) == name]
    for name, least, most in _SIZES:
        members = [item for item in found if least <= item.largest < most]
        if members:
            yield "size", name, members


def _group(kind: str, name: str, members: list[Found], cohort: Cohort, config: EvaluationConfig) -> LocalisedGroup:
    chosen = np.zeros(cohort.sample.size, bool)
    chosen[[item.place for item in members]] = True
    values = {figure: np.array([item.figures[figure] for item in members]) for figure in members[0].figures}

    def statistics(weights: Floats) -> Mapping[str, Floats]:
        return {figure: weights @ column / weights.sum(axis=1) for figure, column in values.items()}

    replicates = bootstrap(cohort.sample.take(chosen), config.resampling, statistics)
    means = {figure: replicates.interval(figure, float(column.mean())) for figure, column in values.items()}
    return LocalisedGroup(kind, name, len(members), means)
