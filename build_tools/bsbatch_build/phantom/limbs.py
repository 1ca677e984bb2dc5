"""Shoulder girdle, arms and legs of the reference adult, with straight arms and legs."""

from __future__ import annotations

from bsbatch_build.phantom.geometry import (
    LEFT,
    Location,
    Points,
    Segment,
    Stroke,
    area,
    bezier,
    ellipse,
    tube,
)

SHOULDER, ELBOW, WRIST = (163.0, 298.0), (163.0, 602.0), (163.0, 846.0)
HIP, KNEE, ANKLE = (90.0, 799.0), (90.0, 1222.0), (84.0, 1636.0)
"""Joint centres of the left side, x and y in millimetres."""

_TRUNK, _ARM, _FOREARM = Segment.TRUNK, Segment.UPPER_ARM, Segment.FOREARM
_HAND, _THIGH, _SHANK, _FOOT = Segment.HAND, Segment.THIGH, Segment.SHANK, Segment.FOOT


def limbs() -> list[Stroke]:
    """Strokes of the shoulder girdle, arms and legs of both sides."""
    left = [*_girdle(), *_arm(), *_hand(), *_femur(), *_shank(), *_foot()]
    return [*left, *(stroke.mirror() for stroke in left)]


def _girdle() -> list[Stroke]:
    clavicle: Points = bezier((26, 320), (86, 300), (148, 277), 11)
    body = [(74, 318), (138, 292), (142, 316), (98, 444), (90, 440)]
    back = Location("scapula", _TRUNK, 0.9, LEFT)
    return [
        tube(Location("clavicle", _TRUNK, 0.16, LEFT), clavicle, 6.0, 1.6),
        area(back, body, 1.0),
        tube(back, bezier((74, 326), (118, 306), (160, 279)), 7.5, 1.1),
        tube(back, bezier((142, 312), (124, 372), (96, 440)), 6.0, 1.3),
        tube(back, [(74, 322), (80, 382), (94, 440)], 5.0, 0.7),
        ellipse(back, (98, 422), (10, 15), 0.6),
        ellipse(Location("scapula", _TRUNK, 0.45, LEFT), (162, 276), (14, 9), 2.6),
        ellipse(Location("scapula", _TRUNK, 0.3, LEFT), (132, 290), (9, 9), 1.7),
        tube(Location("scapula", _TRUNK, 0.55, LEFT), [(144, 288), (146, 318)], 5.0, 1.8),
    ]


def _arm() -> list[Stroke]:
    upper = Location("humerus", _ARM, 0.5, LEFT)
    elbow = Location("elbow", _ARM, 0.5, LEFT)
    return [
        ellipse(upper, (160, 298), (21, 22), 1.3),
        ellipse(upper, (163, 290), (16, 12), 0.9),
        tube(upper, [(162, 300), (163, 340), (163, 560), (163, 596)], [21, 12, 9, 18], 0.95),
        ellipse(elbow, (163, 600), (26, 12), 0.9),
        tube(Location("radius", _FOREARM, 0.5, LEFT), _forearm(14), [10, 8, 8, 12], 0.65),
        tube(Location("ulna", _FOREARM, 0.5, LEFT), _forearm(-13), [13, 8, 7, 8], 0.65),
        ellipse(Location("wrist", _FOREARM, 0.5, LEFT), (163, 850), (24, 16), 0.8),
    ]


def _forearm(offset: float) -> list[tuple[float, float]]:
    return [(163 + offset, y) for y in (606.0, 650.0, 810.0, 842.0)]


def _hand() -> list[Stroke]:
    location = Location("hand", _HAND, 0.5, LEFT)
    fingers = [
        tube(location, [(163 + x / 2, 864), (163 + x, 938), (163 + tip, end)], [6, 5.5, 4.5], 0.5)
        for x, tip, end in ((-26, -30, 1004), (-9, -10, 1022), (8, 9, 1026), (24, 27, 1008))
    ]
    knuckles = [ellipse(location, (163 + x, 938), (7, 7), 0.5) for x in (-26, -9, 8, 24)]
    thumb = tube(location, [(180, 866), (208, 908), (216, 946)], [7, 6, 5], 0.5)
    return [*fingers, *knuckles, thumb, ellipse(location, (163, 866), (24, 14), 0.7)]


def _femur() -> list[Stroke]:
    femur = Location("femur", _THIGH, 0.5, LEFT)
    shaft = [(126, 822), (124, 880), (110, 1060), (96, 1160), (90, 1218)]
    return [
        ellipse(femur, (91, 798), (22, 22), 1.0),
        tube(femur, [(94, 800), (126, 826)], [16, 19], 1.1),
        ellipse(Location("femur", _THIGH, 0.55, LEFT), (134, 818), (16, 22), 1.2),
        tube(femur, shaft, [19, 14, 12, 18, 38], 1.15),
        ellipse(femur, (66, 1204), (16, 15), 0.6),
        ellipse(femur, (114, 1204), (16, 15), 0.6),
        ellipse(Location("patella", _THIGH, 0.08, LEFT), (91, 1196), (19, 20), 0.6),
    ]


def _shank() -> list[Stroke]:
    tibia = Location("tibia", _SHANK, 0.42, LEFT)
    shaft = [(90, 1226), (88, 1262), (86, 1300), (82, 1590), (82, 1630)]
    return [
        tube(tibia, shaft, [37, 25, 13, 10, 18], 0.95),
        ellipse(tibia, (90, 1228), (38, 13), 0.5),
        ellipse(Location("tibia", _SHANK, 0.15, LEFT), (88, 1268), (9, 11), 0.6),
        tube(
            Location("fibula", _SHANK, 0.6, LEFT),
            [(124, 1252), (116, 1600), (106, 1640)],
            [7, 5, 8],
            0.7,
        ),
        ellipse(Location("ankle", _SHANK, 0.5, LEFT), (86, 1636), (26, 14), 0.6),
    ]


def _foot() -> list[Stroke]:
    rays = [
        tube(
            Location("foot", _FOOT, 0.3, LEFT),
            [(84 + 0.5 * x, 1690), (84 + x, 1748), (84 + 1.1 * x, end)],
            [6, 5, 4],
            0.75,
        )
        for x, end in ((-24, 1792), (-10, 1790), (4, 1784), (17, 1774), (28, 1762))
    ]
    return [
        *rays,
        ellipse(Location("foot", _FOOT, 0.4, LEFT), (84, 1668), (27, 32), 0.7),
        ellipse(Location("foot", _FOOT, 0.9, LEFT), (86, 1668), (20, 26), 0.8),
        ellipse(Location("foot", _FOOT, 0.3, LEFT), (58, 1750), (8, 8), 0.9),
    ]
