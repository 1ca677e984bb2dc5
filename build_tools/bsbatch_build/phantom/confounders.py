"""Foci that resemble metastases; drawn alike for both classes.

The kinds were seen in real scans (injection site, catheter and bag, contamination, degenerative
joints) or are common textbook pitfalls. The rates are estimates of our own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from bsbatch_build.phantom.geometry import (
    LEFT,
    RIGHT,
    Location,
    Segment,
    Stroke,
    bezier,
    ellipse,
    tube,
)
from bsbatch_build.phantom.lesions import spot

_TRUNK = Segment.TRUNK


@dataclass(frozen=True, slots=True)
class Joint:
    """A joint that may show degenerative uptake; coordinates are those of the left side."""

    segment: Segment
    rate: float
    """Probability on each side at 66 years."""
    centre: tuple[float, float]
    reach: tuple[float, float]
    """Half the range of the focus around the centre, x and y in millimetres."""
    depth: float


JOINTS = (
    Joint(Segment.THIGH, 0.30, (90, 1212), (32, 8), 0.4),
    Joint(Segment.SHANK, 0.24, (90, 1232), (32, 7), 0.4),
    Joint(Segment.THIGH, 0.14, (91, 1196), (8, 10), 0.1),
    Joint(_TRUNK, 0.22, (160, 280), (14, 8), 0.4),
    Joint(Segment.UPPER_ARM, 0.14, (156, 302), (12, 16), 0.45),
    Joint(Segment.UPPER_ARM, 0.07, (163, 600), (18, 6), 0.5),
    Joint(Segment.FOREARM, 0.12, (163, 852), (20, 10), 0.5),
    Joint(Segment.HAND, 0.14, (172, 900), (22, 40), 0.5),
    Joint(_TRUNK, 0.10, (92, 780), (22, 8), 0.5),
    Joint(Segment.SHANK, 0.10, (84, 1634), (20, 8), 0.5),
    Joint(Segment.FOOT, 0.16, (84, 1684), (22, 22), 0.4),
    Joint(Segment.FOOT, 0.14, (60, 1752), (6, 6), 0.3),
    Joint(_TRUNK, 0.14, (24, 324), (5, 6), 0.12),
    Joint(_TRUNK, 0.13, (18, 270), (4, 40), 0.6),
    Joint(_TRUNK, 0.12, (20, 460), (4, 70), 0.8),
    Joint(_TRUNK, 0.30, (24, 665), (6, 52), 0.74),
    Joint(Segment.HEAD, 0.12, (22, 205), (18, 10), 0.15),
)

_JOINT_RADIUS = (4.0, 12.0)
_JOINT_UPTAKE = (1.3, 0.65)
"""Median and log standard deviation."""


def draw_confounders(rng: Generator, age: int, bones: Sequence[Stroke]) -> list[Stroke]:
    """Draw all foci that are not metastases, in the coordinates of the reference adult."""
    strokes = _joint_wear(rng, age)
    for rate, draw in _RARE:
        if rng.random() < rate:
            strokes += draw(rng)
    if rng.random() < _FRACTURES:
        strokes += _rib_fractures(rng, bones)
    if rng.random() < _COMPRESSIONS:
        strokes += _compression(rng, bones)
    return strokes


def _joint_wear(rng: Generator, age: int) -> list[Stroke]:
    wear = float(np.clip((age - 20) / 46, 0.2, 1.5))
    return [
        _focus(rng, joint, side)
        for joint in JOINTS
        for side in (LEFT, RIGHT)
        if rng.random() < joint.rate * wear
        for _ in range(int(rng.integers(1, 3)))
    ]


def _focus(rng: Generator, joint: Joint, side: int) -> Stroke:
    x, y = joint.centre + rng.uniform(-1.0, 1.0, 2) * joint.reach
    median, spread = _JOINT_UPTAKE
    uptake = median * float(np.exp(rng.normal(0.0, spread)))
    # attenuation would hide a deep joint of the same uptake
    uptake *= 1.0 + 2.0 * joint.depth * (joint.segment is _TRUNK)
    location = Location("joint", joint.segment, joint.depth, side)
    return spot(rng, location, (side * x, y), (float(rng.uniform(*_JOINT_RADIUS)), uptake))


def _side(rng: Generator) -> int:
    return (LEFT, RIGHT)[int(rng.integers(2))]


def _injection(rng: Generator) -> list[Stroke]:
    side, uptake = _side(rng), float(12.0 * np.exp(rng.normal(0.0, 1.0)))
    at_elbow = bool(rng.integers(2))
    y = 592.0 if at_elbow else float(rng.uniform(826, 880))
    segment = Segment.UPPER_ARM if at_elbow else Segment.FOREARM
    location = Location("injection", segment, 0.3, side)
    x = side * (163.0 + float(rng.uniform(-16, 16)))
    strokes = [spot(rng, location, (x, y), (float(rng.uniform(4, 9)), uptake))]
    if rng.random() < _VEIN:
        vein = Location("vein", Segment.UPPER_ARM if at_elbow else Segment.FOREARM, 0.3, side)
        end = (side * 150.0, y - float(rng.uniform(80, 220)))
        path = bezier((x, y), (x + side * 14, (y + end[1]) / 2), end)
        strokes.append(tube(vein, path, 3.0, float(rng.uniform(1.0, 4.0))))
    return strokes


def _catheter(rng: Generator) -> list[Stroke]:
    side = _side(rng)
    location = Location("catheter", _TRUNK, 0.05)
    thigh, knee = (side * rng.uniform(15, 70), 1040.0), (side * rng.uniform(20, 150), 1350.0)
    end = (side * float(rng.uniform(20, 160)), float(rng.uniform(1500, 1830)))
    path = np.concatenate([bezier((0, 850), (0, 900), thigh), bezier(thigh, knee, end)[1:]])
    line = tube(location, path, 2.5, float(rng.uniform(1.5, 5.0)))
    bag = ellipse(location, end, (rng.uniform(18, 40), rng.uniform(25, 60)), float(rng.uniform(1.0, 6.0)))
    return [line, bag]


def _contamination(rng: Generator) -> list[Stroke]:
    location = Location("urine", _TRUNK, 0.05)
    return [
        spot(
            rng,
            location,
            (float(rng.normal(0, 26)), float(rng.uniform(870, 1010))),
            (float(rng.uniform(5, 18)), float(2.5 * np.exp(rng.normal(0.0, 0.8)))),
        )
        for _ in range(int(rng.integers(1, 5)))
    ]


def _hydronephrosis(rng: Generator) -> list[Stroke]:
    side = _side(rng)
    location = Location("ureter", _TRUNK, 0.68, side)
    uptake = float(rng.uniform(4, 14))
    pelvis = ellipse(location, (side * 60, 606), (13, 20), uptake)
    path = bezier((side * 54, 622), (side * 34, 700), (side * 22, 776))
    shown = int(rng.integers(4, len(path) + 1))
    return [pelvis, tube(location, path[:shown], 3.0, 0.5 * uptake)]


def _thyroid(rng: Generator) -> list[Stroke]:
    uptake = float(rng.uniform(1.0, 4.0))
    location = Location("thyroid", _TRUNK, 0.2)
    lobes = [ellipse(location, (side * 14, 290), (8, 18), uptake) for side in (LEFT, RIGHT)]
    stomach = ellipse(Location("stomach", _TRUNK, 0.35), (58, 560), (38, 50), 0.3 * uptake)
    return [*lobes, stomach]


def _sinus(rng: Generator) -> list[Stroke]:
    location = Location("sinus", Segment.HEAD, 0.2)
    x = float(rng.normal(0.0, 22.0))
    return [spot(rng, location, (x, float(rng.uniform(165, 215))), (9.0, float(rng.uniform(1.5, 5.0))))]


def _breasts(rng: Generator) -> list[Stroke]:
    location = Location("breast", _TRUNK, 0.02)
    uptake = float(rng.uniform(0.15, 0.5))
    return [ellipse(location, (side * 78, 455), (52, 46), uptake) for side in (LEFT, RIGHT)]


_RARE: tuple[tuple[float, Callable[[Generator], list[Stroke]]], ...] = (
    (0.55, _injection),
    (0.08, _catheter),
    (0.08, _contamination),
    (0.06, _hydronephrosis),
    (0.02, _thyroid),
    (0.15, _sinus),
    (0.15, _breasts),
)
"""Probability of each, with the function that draws it."""

_FRACTURES, _COMPRESSIONS = 0.07, 0.06
_VEIN, _THORACIC = 0.30, 0.60
"""Share of injections with a visible vein; share of collapsed vertebrae that are thoracic."""


def _rib_fractures(rng: Generator, bones: Sequence[Stroke]) -> list[Stroke]:
    """Draw foci in a line: the same point of several neighbouring ribs."""
    side, first, number = _side(rng), int(rng.integers(3, 9)), int(rng.integers(2, 6))
    names = {f"rib_{rib}" for rib in range(first, min(first + number, 11))}
    depth = (0.90, 0.72, 0.42)[int(rng.integers(3))]
    share = float(rng.uniform(0.2, 0.8))
    uptake = float(4.0 * np.exp(rng.normal(0.0, 0.5)))
    hosts = [
        bone
        for bone in bones
        if bone.location.bone in names and bone.location.side == side and bone.location.depth == depth
    ]
    centres = [bone.axis[int(share * len(bone.axis))] + rng.normal(0.0, 4.0, 2) for bone in hosts]
    location = Location("fracture", _TRUNK, depth, side)
    return [spot(rng, location, (float(x), float(y)), (6.0, uptake * float(rng.uniform(0.4, 1.3)))) for x, y in centres]


def _compression(rng: Generator, bones: Sequence[Stroke]) -> list[Stroke]:
    """Draw a collapsed vertebra: a hot bar as wide as the vertebra."""
    level = f"thoracic_{rng.integers(6, 13)}" if rng.random() < _THORACIC else f"lumbar_{rng.integers(1, 6)}"
    body = next(bone for bone in bones if bone.location.bone == level)
    middle = body.contour.mean(axis=0)
    half = float(np.ptp(body.contour[:, 0])) / 2
    path = [(middle[0] - half, middle[1]), (middle[0] + half, middle[1])]
    location = Location("fracture", _TRUNK, body.location.depth)
    return [tube(location, path, float(rng.uniform(4, 8)), body.uptake * float(rng.uniform(1.0, 3.0)))]
