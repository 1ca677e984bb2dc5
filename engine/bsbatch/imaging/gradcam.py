"""Grad-CAM (Selvaraju et al., ICCV 2017): what a backend gives for an image, as a heat map of the predicted class.

A backend's map is signed, because with two classes what speaks for one speaks as much against the other. Which class an
examination is predicted to be is known only here, where the threshold of the run is. Where the map lies on the body
tells a reader which maps to look at twice; the regions are parts of the body's outline, not segmented organs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from bsbatch.config import CamMode
from bsbatch.records import Body, ExamView, Explanation, HeatMap, Peak, Sample, Silhouette, Whereabouts

_ROWS, _COLUMNS = 32, 16
"""Of a map, in one view."""
_PELVIS = 0.36, 0.52
"""From the body's top, as shares of its length: iliac crest to below the symphysis, feet pointing down."""
_BLADDER = 0.40, 0.50
_BLADDER_WIDTH = 0.3
_OUTER = 0.75
"""Distances from the midline, as shares of the body's half width."""
_MOSTLY = 0.5

Map = NDArray[np.float32]


class CamWarning(StrEnum):
    """Warnings of the column ``cam_warning``: the map lies mainly where no bone is."""

    NO_EVIDENCE = "no_evidence"
    """Nothing in the image speaks for the predicted class: the map is 0 everywhere."""
    OUTSIDE_BODY = "outside_body"
    """Less than half of the map lies inside the body."""
    BLADDER = "bladder"
    """More than half lies where the bladder is; sacrum and coccyx lie there, too."""
    PERIPHERY = "periphery"
    """More than half lies at the outermost points of the body, where the tracer is injected."""


@dataclass(frozen=True, slots=True)
class Explainer:
    """Makes the heat maps that a run was asked for."""

    mode: CamMode
    threshold: float
    """``p_metastasis`` from which on an examination is predicted positive, in [0, 1]."""
    keeps_views: bool = False
    """Whether the map will be drawn over the scan."""

    def wants(self, p_metastasis: float) -> bool:
        """Whether an examination shall have a map."""
        return self.mode is CamMode.ALL or (self.mode is CamMode.POSITIVE and p_metastasis >= self.threshold)

    def explain(self, p_metastasis: float, cam: Map, sample: Sample) -> Explanation | None:
        """Give the map of an examination and where it lies; None where nobody looked for the body.

        Parameters
        ----------
        p_metastasis
            In [0, 1].
        cam
            ``(32, 32)``, above 0 where the model finds metastasis.
        sample
            What was scored.
        """
        if sample.body is None:
            return None
        heat = heat_map(cam, is_positive=p_metastasis >= self.threshold)
        where = whereabouts(heat, sample.body, sample.exam.anterior, sample.exam.posterior)
        return Explanation(heat, where, sample.views)


NO_MAPS = Explainer(CamMode.NONE, threshold=0.5)


def heat_map(cam: Map, *, is_positive: bool) -> HeatMap:
    """Keep what speaks for one class and scale it to [0, 1]; what is no number counts as nothing."""
    evidence = np.maximum(np.nan_to_num(cam if is_positive else -cam, posinf=0.0), 0).astype(np.float32)
    strength = float(evidence.max())
    return HeatMap(evidence / np.float32(strength) if strength > 0 else evidence, strength)


def whereabouts(heat: HeatMap, body: Body, anterior: ExamView | None, posterior: ExamView | None) -> Whereabouts:
    """Tell where on the body a map lies."""
    maps = heat.cells[:, :_COLUMNS], heat.cells[:, _COLUMNS:]
    total = float(heat.cells.sum(dtype=np.float64))

    def share(region: Callable[[Silhouette], Map]) -> float | None:
        return _share(float(np.sum(maps[0] * region(body.anterior) + maps[1] * region(body.posterior))), total)

    in_body = _share(float(np.sum(heat.cells * _touched(body.cells))), total)
    periphery, bladder = share(_periphery), share(_bladder)
    left = float(np.sum(maps[0] * _beyond(body.anterior)) + np.sum(maps[1] * (1 - _beyond(body.posterior))))
    warnings = {
        CamWarning.NO_EVIDENCE: total == 0,
        CamWarning.OUTSIDE_BODY: in_body is not None and in_body < _MOSTLY,
        CamWarning.BLADDER: bladder is not None and bladder > _MOSTLY,
        CamWarning.PERIPHERY: periphery is not None and periphery > _MOSTLY,
    }
    return Whereabouts(
        peak_anterior=_peak(maps[0], anterior),
        peak_posterior=_peak(maps[1], posterior),
        body=in_body,
        pelvis=share(_pelvis),
        periphery=periphery,
        left=_share(left, total),
        anterior=_share(float(maps[0].sum(dtype=np.float64)), total),
        warnings=tuple(warning.value for warning, is_raised in warnings.items() if is_raised),
    )


def _share(part: float, total: float) -> float | None:
    return min(1.0, part / total) if total > 0 else None


def _touched(cells: Map) -> Map:
    """Cells of which a quarter is body count as body: what is found at its edge lights up the cell across it."""
    return np.asarray(np.minimum(cells * 4, 1), np.float32)


def _pelvis(view: Silhouette) -> Map:
    return _band(view, *_PELVIS)[:, np.newaxis] * np.ones(_COLUMNS, np.float32)


def _bladder(view: Silhouette) -> Map:
    reach = _BLADDER_WIDTH * view.half_width
    columns = _overlap(_COLUMNS, view.midline - reach, view.midline + reach)
    return _band(view, *_BLADDER)[:, np.newaxis] * columns


def _periphery(view: Silhouette) -> Map:
    reach = _OUTER * view.half_width
    return np.ones((_ROWS, 1), np.float32) - _overlap(_COLUMNS, view.midline - reach, view.midline + reach)


def _beyond(view: Silhouette) -> Map:
    """The side of the midline that is right in the image."""
    return np.ones((_ROWS, 1), np.float32) * _overlap(_COLUMNS, view.midline, _COLUMNS)


def _band(view: Silhouette, first: float, last: float) -> Map:
    length = view.bottom - view.top
    return _overlap(_ROWS, view.top + first * length, view.top + last * length)


def _overlap(count: int, lower: float, upper: float) -> Map:
    """How much of each of ``count`` cells of length 1 lies in an interval, in [0, 1]."""
    starts = np.arange(count, dtype=np.float32)
    return np.asarray(np.clip(np.minimum(starts + 1, upper) - np.maximum(starts, lower), 0, 1), np.float32)


def _peak(cells: Map, view: ExamView | None) -> Peak | None:
    value = float(cells.max())
    if view is None or value == 0:
        return None
    row, column = divmod(int(cells.argmax()), _COLUMNS)
    header = view.scan.header
    return Peak(_middle(row, header.rows / _ROWS), _middle(column, header.columns / _COLUMNS), value)


def _middle(cell: int, pixels: float) -> float:
    """The middle of a cell of so many pixels, where the middle of the first pixel is 0."""
    return (cell + 0.5) * pixels - 0.5
