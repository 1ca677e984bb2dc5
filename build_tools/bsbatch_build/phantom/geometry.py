"""Strokes: filled contours in the coronal plane, each with a body segment, depth and uptake.

Coordinates are millimetres of a reference adult of 1720 mm: x points to the patient's left, y from
the vertex to the feet. Depth is a share of the local body thickness, 0 at the front, 1 at the back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]
"""(n, 2) float64, x and y in millimetres."""

MIDLINE, LEFT, RIGHT = 0, 1, -1
"""Side of the patient; the number is also the sign of x."""


class Segment(StrEnum):
    """A part of the body that moves rigidly with posture."""

    HEAD = "head"
    TRUNK = "trunk"
    UPPER_ARM = "upper_arm"
    FOREARM = "forearm"
    HAND = "hand"
    THIGH = "thigh"
    SHANK = "shank"
    FOOT = "foot"


@dataclass(frozen=True, slots=True, eq=False)
class Location:
    """Anatomical location of a stroke: bone, body segment, depth and side."""

    bone: str
    """Name of the bone or organ, the key for lesion sites and uptake factors."""
    segment: Segment
    """The rigid part of the body that carries it."""
    depth: float
    """Share of the local thickness, 0 (front) to 1 (back)."""
    side: int = MIDLINE
    """LEFT, RIGHT or MIDLINE."""


@dataclass(frozen=True, slots=True, eq=False)
class Stroke:
    """One filled contour of uniform uptake."""

    location: Location
    contour: Points
    """(n, 2) closed outline."""
    axis: Points
    """(m, 2) points of the middle line, the candidate centres of lesions."""
    uptake: float
    """Counts per area before attenuation; 1 is the soft tissue of the trunk after attenuation."""

    def mirror(self) -> Stroke:
        """Return the same stroke on the other side of the body."""
        flip = np.array([-1.0, 1.0])
        location = replace(self.location, side=-self.location.side)
        return replace(self, location=location, contour=self.contour * flip, axis=self.axis * flip)

    def scale_uptake(self, factor: float) -> Stroke:
        """Return the same stroke with its uptake multiplied by ``factor``."""
        return replace(self, uptake=self.uptake * factor)


def bezier(start: ArrayLike, control: ArrayLike, end: ArrayLike, count: int = 9) -> Points:
    """Sample a quadratic Bezier curve at ``count`` points."""
    t = np.linspace(0.0, 1.0, count)[:, np.newaxis]
    p0, p1, p2 = (np.asarray(point, dtype=np.float64) for point in (start, control, end))
    return np.asarray((1 - t) ** 2 * p0 + 2 * t * (1 - t) * p1 + t**2 * p2)


def tube(location: Location, path: ArrayLike, radius: ArrayLike, uptake: float) -> Stroke:
    """Return a bone along ``path`` (n, 2); ``radius`` is its half width, one number or (n,)."""
    axis = np.asarray(path, dtype=np.float64)
    tangent = np.gradient(axis, axis=0)
    tangent /= np.maximum(np.hypot(tangent[:, 0], tangent[:, 1]), 1e-9)[:, np.newaxis]
    half = np.broadcast_to(np.asarray(radius, dtype=np.float64), axis.shape[:1])[:, np.newaxis]
    offset = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1) * half
    return Stroke(location, np.concatenate([axis + offset, (axis - offset)[::-1]]), axis, uptake)


def ellipse(location: Location, centre: ArrayLike, radii: ArrayLike, uptake: float) -> Stroke:
    """Return an upright ellipse with half axes ``radii`` (2,)."""
    angle = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
    middle = np.asarray(centre, dtype=np.float64)
    half = np.asarray(radii, dtype=np.float64)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    axis = middle + 0.5 * half * circle[::4]
    return Stroke(location, middle + half * circle, axis, uptake)


def ring(location: Location, centre: ArrayLike, radii: ArrayLike, shell: tuple[float, float]) -> Stroke:
    """Return an elliptic shell; ``shell`` holds its thickness in millimetres and its uptake."""
    thickness, uptake = shell
    outer = ellipse(location, centre, radii, uptake)
    inner = ellipse(location, centre, np.asarray(radii, dtype=np.float64) - thickness, uptake)
    closed = [outer.contour, outer.contour[:1], inner.contour[:1], inner.contour[::-1]]
    return Stroke(location, np.concatenate(closed), (outer.contour + inner.contour) / 2, uptake)


def area(location: Location, corners: ArrayLike, uptake: float) -> Stroke:
    """Return a flat bone with the given corners (n, 2)."""
    contour = np.asarray(corners, dtype=np.float64)
    middle = contour.mean(axis=0)
    return Stroke(location, contour, middle + 0.6 * (contour - middle), uptake)
