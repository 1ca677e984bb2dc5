"""Grad-CAM heat maps of the predicted class, and their location on the body.

Method: Selvaraju et al., ICCV 2017. A backend returns signed cells: with two classes, evidence for one is evidence
against the other. The predicted class depends on the threshold of the run, so the sign is chosen here. The location on
the body helps a reader to choose which heat maps to check; its regions are parts of the body's outline, not segmented
organs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from bsbatch.config import CamMode
from bsbatch.geometry import CAM_COLUMNS, CAM_ROWS
from bsbatch.records import Body, ExamView, Explanation, HeatMap, MapLocation, Peak, PreparedExam, Silhouette

_PELVIS = 0.36, 0.52
"""Distances from the top as shares of the body's length with feet pointing down: iliac crest to below the symphysis."""
_BLADDER = 0.40, 0.50
_BLADDER_WIDTH = 0.3
_OUTER = 0.75
"""Distances from the midline, as shares of the body's half width."""
_MOSTLY = 0.5

Cells = NDArray[np.float32]


class CamWarning(StrEnum):
    """Warnings of the column ``cam_warning``: most of the heat map is unlikely to be bone."""

    NO_EVIDENCE = "no_evidence"
    """The image has no evidence for the predicted class: the heat map is 0 everywhere."""
    OUTSIDE_BODY = "outside_body"
    """Less than half of the heat map is inside the body."""
    BLADDER = "bladder"
    """More than half is in the region of the bladder, which also contains sacrum and coccyx."""
    PERIPHERY = "periphery"
    """More than half is at the lateral edges of the body, as after injection into a hand or forearm."""


@dataclass(frozen=True, slots=True)
class Explainer:
    """Makes the heat maps of a run."""

    mode: CamMode
    threshold: float
    """An examination is predicted positive if its ``p_metastasis`` is at least this, in [0, 1]."""
    keeps_views: bool = False
    """True if the heat maps will be drawn over the scans."""

    def wants(self, p_metastasis: float) -> bool:
        """Return True if an examination with this score gets a heat map."""
        return self.mode is CamMode.ALL or (self.mode is CamMode.POSITIVE and p_metastasis >= self.threshold)

    def explain(self, p_metastasis: float, cam: Cells, prepared: PreparedExam) -> Explanation | None:
        """Return the heat map of an examination and its location; None if the body was not segmented.

        Parameters
        ----------
        p_metastasis
            In [0, 1].
        cam
            ``(32, 32)``, above 0 for evidence of metastasis, below 0 for evidence of its absence.
        prepared
            The scored examination.
        """
        if prepared.body is None:
            return None
        heat = heat_map(cam, is_positive=p_metastasis >= self.threshold)
        location = locate(heat, prepared.body, prepared.exam.anterior, prepared.exam.posterior)
        return Explanation(heat, location, prepared.views)


NO_MAPS = Explainer(CamMode.NONE, threshold=0.5)


def heat_map(cam: Cells, *, is_positive: bool) -> HeatMap:
    """Keep the evidence for one class and scale it to [0, 1]; NaN and infinite cells become 0."""
    evidence = np.maximum(np.nan_to_num(cam if is_positive else -cam, posinf=0.0), 0).astype(np.float32)
    strength = float(evidence.max())
    return HeatMap(evidence / np.float32(strength) if strength > 0 else evidence, strength)


def locate(heat: HeatMap, body: Body, anterior: ExamView | None, posterior: ExamView | None) -> MapLocation:
    """Locate a heat map on the body: peaks, shares of regions, warnings."""
    views = heat.cells[:, :CAM_COLUMNS], heat.cells[:, CAM_COLUMNS:]
    total = float(heat.cells.sum(dtype=np.float64))

    def share(region: Callable[[Silhouette], Cells]) -> float | None:
        return _share(float(np.sum(views[0] * region(body.anterior) + views[1] * region(body.posterior))), total)

    in_body = _share(float(np.sum(heat.cells * _widen(body.cells))), total)
    periphery, bladder = share(_periphery), share(_bladder)
    left = float(np.sum(views[0] * _beyond(body.anterior)) + np.sum(views[1] * (1 - _beyond(body.posterior))))
    warnings = {
        CamWarning.NO_EVIDENCE: total == 0,
        CamWarning.OUTSIDE_BODY: in_body is not None and in_body < _MOSTLY,
        CamWarning.BLADDER: bladder is not None and bladder > _MOSTLY,
        CamWarning.PERIPHERY: periphery is not None and periphery > _MOSTLY,
    }
    return MapLocation(
        peak_anterior=_peak(views[0], anterior),
        peak_posterior=_peak(views[1], posterior),
        body=in_body,
        pelvis=share(_pelvis),
        periphery=periphery,
        left=_share(left, total),
        anterior=_share(float(views[0].sum(dtype=np.float64)), total),
        warnings=tuple(warning.value for warning, is_raised in warnings.items() if is_raised),
    )


def _share(part: float, total: float) -> float | None:
    return min(1.0, part / total) if total > 0 else None


def _widen(cells: Cells) -> Cells:
    """Count cells that are at least a quarter body as body: findings at its edge also light up the next cell."""
    return np.asarray(np.minimum(cells * 4, 1), np.float32)


def _pelvis(view: Silhouette) -> Cells:
    return _band(view, *_PELVIS)[:, np.newaxis] * np.ones(CAM_COLUMNS, np.float32)


def _bladder(view: Silhouette) -> Cells:
    reach = _BLADDER_WIDTH * view.half_width
    columns = _overlap(CAM_COLUMNS, view.midline - reach, view.midline + reach)
    return _band(view, *_BLADDER)[:, np.newaxis] * columns


def _periphery(view: Silhouette) -> Cells:
    reach = _OUTER * view.half_width
    return np.ones((CAM_ROWS, 1), np.float32) - _overlap(CAM_COLUMNS, view.midline - reach, view.midline + reach)


def _beyond(view: Silhouette) -> Cells:
    """Mask of the side that is right of the midline in the image."""
    return np.ones((CAM_ROWS, 1), np.float32) * _overlap(CAM_COLUMNS, view.midline, CAM_COLUMNS)


def _band(view: Silhouette, first: float, last: float) -> Cells:
    length = view.bottom - view.top
    return _overlap(CAM_ROWS, view.top + first * length, view.top + last * length)


def _overlap(count: int, lower: float, upper: float) -> Cells:
    """Share of each of ``count`` cells of length 1 that is inside an interval, in [0, 1]."""
    starts = np.arange(count, dtype=np.float32)
    return np.asarray(np.clip(np.minimum(starts + 1, upper) - np.maximum(starts, lower), 0, 1), np.float32)


def _peak(cells: Cells, view: ExamView | None) -> Peak | None:
    value = float(cells.max())
    if view is None or value == 0:
        return None
    row, column = divmod(int(cells.argmax()), CAM_COLUMNS)
    header = view.scan.header
    return Peak(_middle(row, header.rows / CAM_ROWS), _middle(column, header.columns / CAM_COLUMNS), value)


def _middle(cell: int, pixels: float) -> float:
    """Pixel coordinate of the centre of a cell of this size; the centre of the first pixel is 0."""
    return (cell + 0.5) * pixels - 0.5
