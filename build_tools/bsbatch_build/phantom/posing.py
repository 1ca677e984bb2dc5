"""Transforms from the reference adult to one patient: bend, rotate and scale contours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from bsbatch_build.phantom.axial import SACRUM_TOP, THORACIC_TOP
from bsbatch_build.phantom.geometry import LEFT, MIDLINE, RIGHT, Points, Segment, Stroke
from bsbatch_build.phantom.limbs import ANKLE, ELBOW, HIP, KNEE, SHOULDER, WRIST
from bsbatch_build.phantom.patient import REFERENCE_HEIGHT, Patient

_NECK = (0.0, 282.0)
_HIPS = (0.0, 799.0)

Affine = NDArray[np.float64]
"""(2, 3) float64: rotation matrix, then translation in millimetres."""

_IDENTITY: Affine = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


@dataclass(frozen=True, slots=True, eq=False)
class PosedBody:
    """The transforms of a patient, one for each segment and side."""

    patient: Patient
    transforms: dict[tuple[Segment, int], Affine]

    def transform(self, strokes: Iterable[Stroke]) -> list[Stroke]:
        """Return the strokes in the patient's coordinates in millimetres, in the given order."""
        ordered = tuple(strokes)
        groups: dict[_Frame, list[int]] = {}
        for index, stroke in enumerate(ordered):
            groups.setdefault(_frame_of(stroke), []).append(index)
        transformed: dict[int, Stroke] = {}
        for frame, members in groups.items():
            group = self._transform_group(frame, [ordered[index] for index in members])
            transformed |= zip(members, group, strict=True)
        return [transformed[index] for index in range(len(ordered))]

    def _transform_group(self, frame: _Frame, strokes: list[Stroke]) -> list[Stroke]:
        segment, side, layer = frame
        soft = layer is _Layer.SOFT
        parts = [part for stroke in strokes for part in (stroke.contour, stroke.axis)]
        points = np.concatenate(parts)
        if segment is Segment.TRUNK and layer is _Layer.BACK:
            points = _bend(points, self.patient.posture.scoliosis)
        matrix = self.transforms[segment, side]
        points = points @ matrix[:, :2].T + matrix[:, 2]
        points *= (self.patient.frame, self.patient.height / REFERENCE_HEIGHT)
        pieces = np.split(points, np.cumsum([len(part) for part in parts])[:-1])
        pairs = zip(strokes, pieces[::2], pieces[1::2], strict=True)
        return [
            Stroke(stroke.location, self._widen(contour, axis) if soft else contour, axis, stroke.uptake)
            for stroke, contour, axis in pairs
        ]

    def _widen(self, contour: Points, axis: Points) -> Points:
        """Widen soft tissue to the patient's girth; hips and legs get half of it."""
        middle = np.concatenate([axis, axis[::-1]])
        rows = middle[:, 1] * (REFERENCE_HEIGHT / self.patient.height)
        share = np.interp(rows, *_GIRTH_SHARE)
        width = 1.0 + (self.patient.girth - 1.0) * share
        return np.asarray(middle + (contour - middle) * np.stack([width, np.ones_like(width)], axis=1))


_GIRTH_SHARE = ((200.0, 300.0, 640.0, 800.0), (0.4, 1.0, 1.0, 0.5))
"""Millimetres below the vertex of the reference adult, and the share of the girth applied there."""


_CENTRAL = (Segment.TRUNK, Segment.HEAD)
"""Segments without a side."""


class _Layer(Enum):
    SOFT = "follows the girth"
    FRONT = "follows neither"
    BACK = "follows the spine"


_Frame = tuple[Segment, int, _Layer]

_BACK = 0.45
"""Strokes at this depth or deeper follow the spine."""


def _frame_of(stroke: Stroke) -> _Frame:
    location = stroke.location
    side = MIDLINE if location.segment in _CENTRAL else location.side
    if location.bone == "soft":
        return location.segment, side, _Layer.SOFT
    return location.segment, side, _Layer.BACK if location.depth >= _BACK else _Layer.FRONT


def _bend(points: Points, amplitude: float) -> Points:
    """Bend points along an S-shaped curve from the first thoracic vertebra to the sacrum, fading to the sides."""
    share = np.clip((points[:, 1] - THORACIC_TOP) / (SACRUM_TOP - THORACIC_TOP), 0.0, 1.0)
    shift = amplitude * np.sin(2.0 * np.pi * share**1.3) * np.exp(-((points[:, 0] / 65.0) ** 2))
    return np.asarray(points + np.stack([shift, np.zeros_like(shift)], axis=1))


def _rotate(degrees: float, pivot: tuple[float, float]) -> Affine:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    rotation = np.array([[cosine, -sine], [sine, cosine]])
    shift = np.asarray(pivot) - rotation @ np.asarray(pivot)
    return np.concatenate([rotation, shift[:, np.newaxis]], axis=1)


def _compose(outer: Affine, inner: Affine) -> Affine:
    rotation = outer[:, :2] @ inner[:, :2]
    shift = outer[:, :2] @ inner[:, 2] + outer[:, 2]
    return np.concatenate([rotation, shift[:, np.newaxis]], axis=1)


def pose_body(patient: Patient) -> PosedBody:
    """Chain the joint rotations of a patient into one transform for each segment."""
    posture = patient.posture
    trunk = _rotate(posture.lean, _HIPS)
    transforms: dict[tuple[Segment, int], Affine] = {
        (Segment.TRUNK, MIDLINE): trunk,
        (Segment.HEAD, MIDLINE): _compose(trunk, _rotate(posture.head_tilt, _NECK)),
    }
    for index, side in enumerate((LEFT, RIGHT)):
        arm = (posture.arms[index], posture.elbows[index], 0.4 * posture.elbows[index])
        leg = (posture.thighs[index], posture.shanks[index], posture.feet[index])
        arm_parts = (Segment.UPPER_ARM, Segment.FOREARM, Segment.HAND)
        leg_parts = (Segment.THIGH, Segment.SHANK, Segment.FOOT)
        transforms |= _chain(trunk, side, arm_parts, zip((SHOULDER, ELBOW, WRIST), arm, strict=True))
        transforms |= _chain(_IDENTITY, side, leg_parts, zip((HIP, KNEE, ANKLE), leg, strict=True))
    return PosedBody(patient, transforms)


def _chain(
    root: Affine,
    side: int,
    parts: tuple[Segment, ...],
    joints: Iterable[tuple[tuple[float, float], float]],
) -> dict[tuple[Segment, int], Affine]:
    chain: dict[tuple[Segment, int], Affine] = {}
    current = root
    for part, ((x, y), degrees) in zip(parts, joints, strict=True):
        current = _compose(current, _rotate(-side * degrees, (side * x, y)))
        chain[part, side] = current
    return chain
