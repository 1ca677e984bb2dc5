"""Soft tissue outline, kidneys and bladder of the reference adult."""

from __future__ import annotations

import numpy as np

from bsbatch_build.phantom.geometry import LEFT, Location, Points, Segment, Stroke, ellipse, tube
from bsbatch_build.phantom.limbs import ANKLE, ELBOW, HIP, KNEE, SHOULDER, WRIST

_TRUNK_ROWS = (
    # y, half width (mm)
    (236.0, 54.0),
    (256.0, 70.0),
    (270.0, 122.0),
    (284.0, 172.0),
    (304.0, 192.0),
    (340.0, 180.0),
    (420.0, 166.0),
    (520.0, 158.0),
    (610.0, 156.0),
    (700.0, 166.0),
    (780.0, 178.0),
    (820.0, 164.0),
    (850.0, 120.0),
    (884.0, 60.0),
)

_SHELLS = ((1.0, 0.55), (0.86, 0.82), (0.62, 1.0))
"""Share of the width and share of the full thickness: chord lengths through a rounded body."""


def outline() -> list[Stroke]:
    """Soft tissue contours from the rim inwards; overlaps take the larger value."""
    left = [*_arm(), *_leg()]
    both = [*left, *(stroke.mirror() for stroke in left)]
    return [*_head(), *_trunk(), *both]


def _shells(location: Location, path: Points, radius: Points, value: float) -> list[Stroke]:
    return [tube(location, path, radius * width, value * share) for width, share in _SHELLS]


def _head() -> list[Stroke]:
    location = Location("soft", Segment.HEAD, 0.5)
    rows = np.array([(2.0, 20), (16, 52), (45, 72), (95, 82), (160, 78), (210, 66), (245, 56), (290, 62)])
    path = np.stack([np.zeros(len(rows)), rows[:, 0]], axis=1)
    return _shells(location, path, rows[:, 1], 0.5)


def _trunk() -> list[Stroke]:
    rows = np.array(_TRUNK_ROWS)
    path = np.stack([np.zeros(len(rows)), rows[:, 0]], axis=1)
    location = Location("soft", Segment.TRUNK, 0.5)
    return [tube(location, path, rows[:, 1] * w, v) for w, v in ((1.0, 0.6), (0.9, 0.85), (0.72, 1.0))]


def _along(start: tuple[float, float], end: tuple[float, float]) -> Points:
    return np.linspace(start, end, 6)


def _arm() -> list[Stroke]:
    hand = (WRIST[0], WRIST[1] + 185.0)
    upper = np.array([46.0, 55, 53, 47, 43, 40])
    lower = np.array([40.0, 43, 40, 35, 31, 29])
    palm = np.array([29.0, 38, 44, 44, 40, 24])
    return [
        *_shells(Location("soft", Segment.UPPER_ARM, 0.5, LEFT), _along(SHOULDER, ELBOW), upper, 0.52),
        *_shells(Location("soft", Segment.FOREARM, 0.5, LEFT), _along(ELBOW, WRIST), lower, 0.42),
        *_shells(Location("soft", Segment.HAND, 0.5, LEFT), _along(WRIST, hand), palm, 0.3),
    ]


def _leg() -> list[Stroke]:
    thigh = np.array([80.0, 88, 84, 76, 67, 60])
    shank = np.array([58.0, 58, 56, 48, 40, 38])
    foot = np.array([36.0, 38, 42, 45, 44, 28])
    toes = (ANKLE[0], ANKLE[1] + 168.0)
    return [
        *_shells(Location("soft", Segment.THIGH, 0.5, LEFT), _along(HIP, KNEE), thigh, 0.72),
        *_shells(Location("soft", Segment.SHANK, 0.5, LEFT), _along(KNEE, ANKLE), shank, 0.60),
        *_shells(Location("soft", Segment.FOOT, 0.5, LEFT), _along(ANKLE, toes), foot, 0.46),
    ]


def organs() -> list[Stroke]:
    """Kidneys with renal pelves, bladder and genital tissue, before the gains of a patient."""
    trunk = Segment.TRUNK
    paths = (
        (LEFT, [(52, 560), (66, 588), (76, 640)]),
        (-LEFT, [(-54, 572), (-68, 602), (-78, 654)]),
    )
    kidneys = [tube(Location("kidney", trunk, 0.74, side), p, [20, 28, 20], 2.4) for side, p in paths]
    pelves = [ellipse(Location("kidney", trunk, 0.7, s), p[1], (9, 13), 1.8) for s, p in paths]
    return [
        *kidneys,
        *pelves,
        ellipse(Location("bladder", trunk, 0.3), (0, 790), (36, 24), 12.0),
        ellipse(Location("genital", trunk, 0.2), (0, 900), (20, 34), 0.5),
    ]
