"""Contours in the patient's coronal plane, and the stroke that carries one.

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
    """A rigid part of the body that posture moves as one."""

    HEAD = "head"
    TRUNK = "trunk"
    UPPER_ARM = "upper_arm"
    FOREARM = "forearm"
    HAND = "hand"
    THIGH = "thigh"
    SHANK = "shank"
    FOOT = "foot"


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where a stroke belongs: bone, body segment and depth."""

    bone: str
    """Name of the bone or organ; lesion sites and uptake factors are looked up by it."""
    segment: Segment
    """The rigid part that it moves with."""
    depth: float
    """Share of the local thickness, 0 (front) to 1 (back)."""
    side: int = MIDLINE
    """LEFT, RIGHT or MIDLINE."""


@dataclass(frozen=True, slots=True, eq=False)
class Stroke:
    """One filled contour of even uptake."""

    place: Place
    contour: Points
    """(n, 2) closed outline."""
    axis: Points
    """(m, 2) points of the middle line, where lesions may sit."""
    uptake: float
    """Counts per area before attenuation; 1 is the soft tissue of the trunk after attenuation."""

    def mirrored(self) -> Stroke:
        """The same stroke on the other side of the body."""
        flip = np.array([-1.0, 1.0])
        place = replace(self.place, side=-self.place.side)
        return replace(self, place=place, contour=self.contour * flip, axis=self.axis * flip)

    def brightened(self, factor: float) -> Stroke:
        """The same stroke with its uptake multiplied."""
        return replace(self, uptake=self.uptake * factor)


def bezier(start: ArrayLike, control: ArrayLike, end: ArrayLike, count: int = 9) -> Points:
    """Sample a quadratic Bezier curve at ``count`` points."""
    t = np.linspace(0.0, 1.0, count)[:, np.newaxis]
    p0, p1, p2 = (np.asarray(point, dtype=np.float64) for point in (start, control, end))
    return np.asarray((1 - t) ** 2 * p0 + 2 * t * (1 - t) * p1 + t**2 * p2)


def tube(place: Place, path: ArrayLike, radius: ArrayLike, uptake: float) -> Stroke:
    """A bone along ``path`` (n, 2) with half width ``radius``, one number or (n,)."""
    axis = np.asarray(path, dtype=np.float64)
    tangent = np.gradient(axis, axis=0)
    tangent /= np.maximum(np.hypot(tangent[:, 0], tangent[:, 1]), 1e-9)[:, np.newaxis]
    half = np.broadcast_to(np.asarray(radius, dtype=np.float64), axis.shape[:1])[:, np.newaxis]
    offset = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1) * half
    return Stroke(place, np.concatenate([axis + offset, (axis - offset)[::-1]]), axis, uptake)


def ellipse(place: Place, centre: ArrayLike, radii: ArrayLike, uptake: float) -> Stroke:
    """An upright ellipse with half axes ``radii`` (2,)."""
    angle = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
    middle = np.asarray(centre, dtype=np.float64)
    half = np.asarray(radii, dtype=np.float64)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    axis = middle + 0.5 * half * circle[::4]
    return Stroke(place, middle + half * circle, axis, uptake)


def ring(place: Place, centre: ArrayLike, radii: ArrayLike, shell: tuple[float, float]) -> Stroke:
    """An elliptic shell; ``shell`` holds its thickness in millimetres and its uptake."""
    thickness, uptake = shell
    outer = ellipse(place, centre, radii, uptake)
    inner = ellipse(place, centre, np.asarray(radii, dtype=np.float64) - thickness, uptake)
    closed = [outer.contour, outer.contour[:1], inner.contour[:1], inner.contour[::-1]]
    return Stroke(place, np.concatenate(closed), (outer.contour + inner.contour) / 2, uptake)


def area(place: Place, corners: ArrayLike, uptake: float) -> Stroke:
    """A flat bone given by its corners (n, 2)."""
    contour = np.asarray(corners, dtype=np.float64)
    middle = contour.mean(axis=0)
    return Stroke(place, contour, middle + 0.6 * (contour - middle), uptake)
