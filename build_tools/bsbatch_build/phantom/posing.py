"""From the reference adult to this patient: bends, turns and scales contours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bsbatch_build.phantom.axial import SACRUM_TOP, THORACIC_TOP
from bsbatch_build.phantom.geometry import LEFT, MIDLINE, RIGHT, Points, Segment, Stroke
from bsbatch_build.phantom.limbs import ANKLE, ELBOW, HIP, KNEE, SHOULDER, WRIST
from bsbatch_build.phantom.patient import REFERENCE_HEIGHT, Patient

_NECK = (0.0, 282.0)
_HIPS = (0.0, 799.0)

Affine = NDArray[np.float64]
"""(2, 3) float64: turn, then shift."""

_IDENTITY: Affine = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """A patient's transforms, one for each segment and side."""

    patient: Patient
    transforms: dict[tuple[Segment, int], Affine]

    def place(self, strokes: Iterable[Stroke]) -> list[Stroke]:
        """The strokes in the patient's own coordinates in millimetres, in the order given."""
        ordered = tuple(strokes)
        groups: dict[_Frame, list[int]] = {}
        for index, stroke in enumerate(ordered):
            groups.setdefault(_frame_of(stroke), []).append(index)
        placed: dict[int, Stroke] = {}
        for frame, members in groups.items():
            moved = self._moved(frame, [ordered[index] for index in members])
            placed |= zip(members, moved, strict=True)
        return [placed[index] for index in range(len(ordered))]

    def _moved(self, frame: _Frame, strokes: list[Stroke]) -> list[Stroke]:
        segment, side, soft = frame
        parts = [part for stroke in strokes for part in (stroke.contour, stroke.axis)]
        points = np.concatenate(parts)
        if segment is Segment.TRUNK and not soft:
            points = _bend(points, self.patient.posture.scoliosis)
        matrix = self.transforms[segment, side]
        points = points @ matrix[:, :2].T + matrix[:, 2]
        points *= (self.patient.frame, self.patient.height / REFERENCE_HEIGHT)
        pieces = np.split(points, np.cumsum([len(part) for part in parts])[:-1])
        pairs = zip(strokes, pieces[::2], pieces[1::2], strict=True)
        girth = self.patient.girth if soft else 1.0
        return [
            Stroke(stroke.place, _widened(contour, axis, girth), axis, stroke.uptake) for stroke, contour, axis in pairs
        ]


def _widened(contour: Points, axis: Points, girth: float) -> Points:
    if girth == 1.0:
        return contour
    middle = np.concatenate([axis, axis[::-1]])
    return np.asarray(middle + (contour - middle) * (girth, 1.0))


_CENTRAL = (Segment.TRUNK, Segment.HEAD)


_Frame = tuple[Segment, int, bool]
"""Segment, side and whether it is soft tissue, which follows the girth and not the spine."""


def _frame_of(stroke: Stroke) -> _Frame:
    place = stroke.place
    side = MIDLINE if place.segment in _CENTRAL else place.side
    return place.segment, side, place.bone == "soft"


def _bend(points: Points, amplitude: float) -> Points:
    """An S-shaped curve between the first thoracic vertebra and the sacrum, fading to the sides."""
    share = np.clip((points[:, 1] - THORACIC_TOP) / (SACRUM_TOP - THORACIC_TOP), 0.0, 1.0)
    shift = amplitude * np.sin(2.0 * np.pi * share**1.3) * np.exp(-((points[:, 0] / 110.0) ** 2))
    return np.asarray(points + np.stack([shift, np.zeros_like(shift)], axis=1))


def _turn(degrees: float, pivot: tuple[float, float]) -> Affine:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[cosine, -sine], [sine, cosine]])
    shift = np.asarray(pivot) - turn @ np.asarray(pivot)
    return np.concatenate([turn, shift[:, np.newaxis]], axis=1)


def _after(outer: Affine, inner: Affine) -> Affine:
    turn = outer[:, :2] @ inner[:, :2]
    shift = outer[:, :2] @ inner[:, 2] + outer[:, 2]
    return np.concatenate([turn, shift[:, np.newaxis]], axis=1)


def body_of(patient: Patient) -> Body:
    """Chain the joints of a patient."""
    posture = patient.posture
    trunk = _turn(posture.lean, _HIPS)
    transforms: dict[tuple[Segment, int], Affine] = {
        (Segment.TRUNK, MIDLINE): trunk,
        (Segment.HEAD, MIDLINE): _after(trunk, _turn(posture.head_tilt, _NECK)),
    }
    for index, side in enumerate((LEFT, RIGHT)):
        arm = (posture.arms[index], posture.elbows[index], 0.4 * posture.elbows[index])
        leg = (posture.thighs[index], posture.shanks[index], posture.feet[index])
        arm_parts = (Segment.UPPER_ARM, Segment.FOREARM, Segment.HAND)
        leg_parts = (Segment.THIGH, Segment.SHANK, Segment.FOOT)
        transforms |= _chain(trunk, side, arm_parts, zip((SHOULDER, ELBOW, WRIST), arm, strict=True))
        transforms |= _chain(_IDENTITY, side, leg_parts, zip((HIP, KNEE, ANKLE), leg, strict=True))
    return Body(patient, transforms)


def _chain(
    root: Affine,
    side: int,
    parts: tuple[Segment, ...],
    joints: Iterable[tuple[tuple[float, float], float]],
) -> dict[tuple[Segment, int], Affine]:
    chain: dict[tuple[Segment, int], Affine] = {}
    current = root
    for part, ((x, y), degrees) in zip(parts, joints, strict=True):
        current = _after(current, _turn(-side * degrees, (side * x, y)))
        chain[part, side] = current
    return chain
