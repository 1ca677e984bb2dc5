"""Render strokes to expected counts in both views, and draw Poisson counts from them.

Attenuation and blur depend on the depth of each stroke below the surface that faces the detector:
counts fall with exp(-mu d), mu = 0.12 / cm (technetium-99m in water, broad beam), and the width of
the point spread is sqrt(intrinsic^2 + collimator(d)^2) as for a parallel-hole collimator
(Cherry, Sorenson & Phelps, Physics in Nuclear Medicine, chapter 14).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from bsbatch_build.phantom.anatomy import THICKNESS
from bsbatch_build.phantom.geometry import Points, Stroke

Counts = NDArray[np.float32]
"""(rows, columns) float32, expected counts or counts per pixel."""

VIEWS = ("anterior", "posterior")

_MU = 0.012
"""Broad-beam attenuation of 140 keV photons in soft tissue, 1/mm."""

_LAYERS = (0.0, 45.0, 95.0, 1e9)
"""Edges of the depth layers in millimetres; strokes of one layer share one blur."""

_LAYER_DEPTHS = (20.0, 70.0, 130.0)
"""Depth in millimetres at which the blur of each layer is computed."""

_SHIFT = 4
"""Fractional bits of contour coordinates (cv2.fillPoly)."""

_FULL = 255
_SIGMA = 1.0 / 2.3548
"""Ratio of a Gaussian's standard deviation to its full width at half maximum."""

_SCATTER_SHARE, _SCATTER_WIDTH = 0.11, 24.0
"""Share of the counts scattered within the energy window; standard deviation of scatter in millimetres."""

_QUANTUM = 2.0**-12
"""Expected counts are rounded to this: the last bits of a blur differ between processors and could change a count."""


@dataclass(frozen=True, slots=True)
class Optics:
    """Matrix and resolution of one acquisition."""

    rows: int
    columns: int
    spacing: float
    """Millimetres per pixel."""
    intrinsic: float
    """Intrinsic resolution, full width at half maximum in millimetres."""
    collimator: float
    """Collimator hole width in millimetres."""
    hole_length: float
    """Effective collimator hole length in millimetres."""
    gap: float
    """Distance from the collimator to the patient in millimetres."""
    margin: float
    """Distance from the first row to the vertex in millimetres."""
    centre: float
    """Column of the patient's midline, as a share of the columns."""

    def sigma(self, depth: float) -> float:
        """Return the standard deviation of the point spread in pixels, at ``depth`` in millimetres."""
        distance = depth + self.gap
        spread = self.collimator * (self.hole_length + distance) / self.hole_length
        return float(np.hypot(self.intrinsic, spread)) * _SIGMA / self.spacing


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """The strokes of one patient, in millimetres, with soft tissue, background and texture."""

    strokes: Sequence[Stroke]
    soft: Sequence[Stroke]
    soft_gain: float
    girth: float
    """Factor on the body depths of THICKNESS."""
    background: float
    """Ratio of the counts outside the body to those of the trunk's soft tissue."""
    texture: Counts
    """Coarse grid of factors around 1, stretched over the matrix; makes bone uptake uneven."""


class Canvas:
    """Sums of strokes by view and depth layer; both views have the geometry of the anterior one."""

    def __init__(self, optics: Optics) -> None:
        """Start empty, with the matrix of ``optics``."""
        self._optics = optics
        shape = (len(VIEWS), len(_LAYER_DEPTHS), optics.rows, optics.columns)
        self._layers: Counts = np.zeros(shape, np.float32)

    def add(self, stroke: Stroke, thickness: float) -> None:
        """Add one stroke in a body ``thickness`` millimetres deep."""
        patch = fill(stroke.contour, self._optics)
        if patch is None:
            return
        depths, weights = _depths(stroke, thickness), attenuation(stroke, thickness)
        for view, (depth, weight) in enumerate(zip(depths, weights, strict=True)):
            layer = int(np.searchsorted(_LAYERS, depth, side="right")) - 1
            target = self._layers[view, layer, patch.rows, patch.columns]
            target += patch.cover * np.float32(stroke.uptake * weight / _FULL)

    def blur(self, view: int) -> Counts:
        """Return the sum of all layers, each with the blur of its depth."""
        total: Counts = np.zeros(self._layers.shape[2:], np.float32)
        for layer, depth in zip(self._layers[view], _LAYER_DEPTHS, strict=True):
            total += cv2.GaussianBlur(layer, (0, 0), self._optics.sigma(depth))
        return total


def _depths(stroke: Stroke, thickness: float) -> tuple[float, float]:
    """Return the millimetres of tissue in front of the stroke and behind it."""
    front = stroke.location.depth * thickness
    return front, thickness - front


def attenuation(stroke: Stroke, thickness: float) -> tuple[float, float]:
    """Return the shares of photons that reach the anterior and the posterior detector, 0 to 1."""
    front, back = _depths(stroke, thickness)
    return float(np.exp(-_MU * front)), float(np.exp(-_MU * back))


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A rasterised contour: its part of the matrix and the cover of each pixel."""

    rows: slice
    columns: slice
    cover: NDArray[np.uint8]
    """(rows, columns) covered share of each pixel, 0 to 255."""


def fill(contour: Points, optics: Optics) -> Patch | None:
    """Rasterise a contour in millimetres. Return None if it misses the matrix."""
    pixels = contour / optics.spacing
    pixels += (optics.centre * optics.columns, optics.margin / optics.spacing)
    low = np.maximum(np.floor(pixels.min(axis=0)).astype(int) - 1, 0)
    high = np.ceil(pixels.max(axis=0)).astype(int) + 2
    right, bottom = min(int(high[0]), optics.columns), min(int(high[1]), optics.rows)
    left, top = int(low[0]), int(low[1])
    if right <= left or bottom <= top:
        return None
    cover = np.zeros((bottom - top, right - left), np.uint8)
    corners = np.round((pixels - (left, top)) * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(cover, [corners], _FULL, cv2.LINE_AA, _SHIFT)
    return Patch(slice(top, bottom), slice(left, right), cover)


def _soft_tissue(scene: Scene, optics: Optics) -> Counts:
    canvas: Counts = np.zeros((optics.rows, optics.columns), np.float32)
    for stroke in scene.soft:
        patch = fill(stroke.contour, optics)
        if patch is not None:
            target = canvas[patch.rows, patch.columns]
            np.maximum(target, patch.cover * np.float32(stroke.uptake / _FULL), out=target)
    return cv2.GaussianBlur(canvas, (0, 0), 1.3 * optics.sigma(_LAYER_DEPTHS[1])) * np.float32(scene.soft_gain)


def _scatter(primary: Counts, optics: Optics) -> Counts:
    step = 4
    size = (optics.columns // step, optics.rows // step)
    small = cv2.resize(primary, size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), _SCATTER_WIDTH / optics.spacing / step)
    return np.asarray(cv2.resize(small, (optics.columns, optics.rows)), dtype=np.float32)


def render_views(scene: Scene, optics: Optics) -> tuple[Counts, Counts]:
    """Render expected relative counts: anterior, and posterior as seen from behind."""
    canvas = Canvas(optics)
    for stroke in scene.strokes:
        canvas.add(stroke, THICKNESS[stroke.location.segment] * scene.girth)
    soft = _soft_tissue(scene, optics)
    size = (optics.columns, optics.rows)
    texture = cv2.resize(scene.texture, size, interpolation=cv2.INTER_CUBIC)
    anterior, posterior = (
        _add_scatter(canvas.blur(view) * texture + soft, optics) + np.float32(scene.background)
        for view in range(len(VIEWS))
    )
    return anterior, np.ascontiguousarray(posterior[:, ::-1])


def _add_scatter(primary: Counts, optics: Optics) -> Counts:
    return primary + np.float32(_SCATTER_SHARE) * _scatter(primary, optics)


def draw_counts(expected: Counts, total: float, rng: Generator) -> NDArray[np.uint16]:
    """Draw Poisson counts; the expected counts are scaled to sum to ``total``."""
    scaled = expected.astype(np.float64) * (total / float(expected.sum(dtype=np.float64)))
    scaled = np.round(scaled / _QUANTUM) * _QUANTUM
    counts = rng.poisson(scaled)
    return np.minimum(counts, np.iinfo(np.uint16).max).astype(np.uint16)
