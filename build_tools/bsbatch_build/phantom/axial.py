"""Head, spine, ribs, sternum and pelvis of the reference adult.

Positions follow standing anthropometry (joint heights as shares of stature) and the NEMA NM1 scan;
uptakes were set by eye against that scan and against the histogram figures in docs/phantoms.md.
"""

from __future__ import annotations

import numpy as np

from bsbatch_build.phantom.geometry import (
    LEFT,
    Location,
    Segment,
    Stroke,
    area,
    bezier,
    ellipse,
    ring,
    tube,
)

_HEAD, _TRUNK = Segment.HEAD, Segment.TRUNK

CERVICAL_TOP, THORACIC_TOP, LUMBAR_TOP, SACRUM_TOP = 188.0, 302.0, 553.0, 723.0
"""Millimetres below the vertex."""

_LEVELS = (
    ("cervical", 7, CERVICAL_TOP, THORACIC_TOP),
    ("thoracic", 12, THORACIC_TOP, LUMBAR_TOP),
    ("lumbar", 5, LUMBAR_TOP, SACRUM_TOP),
)

_RIB_TABLE = (
    # half width, drop to the side, x and further drop of the bony front end (mm)
    (52.0, 20.0, 30.0, 14.0),
    (80.0, 40.0, 38.0, 36.0),
    (101.0, 56.0, 46.0, 50.0),
    (117.0, 70.0, 54.0, 58.0),
    (129.0, 82.0, 64.0, 58.0),
    (137.0, 92.0, 78.0, 56.0),
    (142.0, 98.0, 94.0, 50.0),
    (145.0, 102.0, 110.0, 42.0),
    (144.0, 102.0, 122.0, 32.0),
    (138.0, 98.0, 126.0, 22.0),
    (116.0, 84.0, 0.0, 0.0),
    (78.0, 54.0, 0.0, 0.0),
)


def skull() -> list[Stroke]:
    """Calvarium (a shell), skull base at the back, face and mandible at the front."""
    strokes = [*_vault(), *_face()]
    for stroke in (
        ellipse(Location("face", _HEAD, 0.18, LEFT), (40, 172), (12, 13), 1.5),
        ring(Location("face", _HEAD, 0.12, LEFT), (31, 140), (19, 16), (5, 0.9)),
        ellipse(Location("mandible", _HEAD, 0.45, LEFT), (60, 160), (9, 10), 1.5),
    ):
        strokes += [stroke, stroke.mirror()]
    return strokes


def _vault() -> list[Stroke]:
    return [
        ellipse(Location("skull", _HEAD, 0.5), (0, 98), (74, 95), 1.25),
        ring(Location("skull", _HEAD, 0.5), (0, 98), (75, 96), (19, 0.75)),
        ring(Location("skull", _HEAD, 0.5), (0, 98), (76, 97), (8, 0.8)),
        ellipse(Location("skull", _HEAD, 0.2), (0, 122), (56, 13), 0.5),
        ellipse(Location("skull_base", _HEAD, 0.78), (0, 152), (58, 22), 0.8),
        ellipse(Location("skull_base", _HEAD, 0.78), (0, 168), (34, 17), 1.0),
        ellipse(Location("skull_base", _HEAD, 0.85), (0, 128), (9, 9), 0.5),
    ]


def _face() -> list[Stroke]:
    return [
        ellipse(Location("face", _HEAD, 0.3), (0, 190), (50, 46), 0.7),
        ellipse(Location("face", _HEAD, 0.12), (0, 172), (17, 22), 3.0),
        ellipse(Location("face", _HEAD, 0.15), (0, 196), (26, 15), 2.4),
        ellipse(Location("face", _HEAD, 0.2), (0, 150), (42, 9), 0.9),
        tube(
            Location("mandible", _HEAD, 0.2),
            [(-60, 158), (-55, 205), (-26, 234), (0, 240), (26, 234), (55, 205), (60, 158)],
            [6, 7, 7, 7, 7, 7, 6],
            1.3,
        ),
    ]


def spine() -> list[Stroke]:
    """Vertebrae from C1 to the coccyx, each with body, two facet joints and spinous process."""
    strokes: list[Stroke] = []
    for region, count, top, bottom in _LEVELS:
        growth = np.linspace(0.84, 1.16, count)
        edges = top + (bottom - top) * np.concatenate([[0.0], np.cumsum(growth) / count])
        for index in range(count):
            level = f"{region}_{index + 1}"
            strokes += _vertebra(level, region, float(edges[index]), float(edges[index + 1]))
    return strokes + _sacrum()


_VERTEBRA = {
    # half width (mm), body depth, body uptake, facet uptake
    "cervical": (19.0, 0.5, 2.6, 1.2),
    "thoracic": (16.0, 0.68, 4.4, 1.7),
    "lumbar": (23.0, 0.58, 5.0, 2.6),
}


def _vertebra(level: str, region: str, top: float, bottom: float) -> list[Stroke]:
    half, depth, body, facet = _VERTEBRA[region]
    segment = _HEAD if region == "cervical" and bottom < CERVICAL_TOP + 50 else _TRUNK
    middle, height = (top + bottom) / 2, bottom - top
    half *= 1.0 + 0.2 * (top - THORACIC_TOP) / (LUMBAR_TOP - THORACIC_TOP)
    low, high = middle + 0.36 * height, middle - 0.36 * height
    waist = 0.86 * half
    corners = [(-half, high), (half, high), (waist, middle), (half, low), (-half, low)]
    corners.append((-waist, middle))
    joint = ellipse(
        Location(level, segment, depth + 0.17, LEFT),
        (0.62 * half, bottom - 2),
        (6, 0.24 * height),
        facet,
    )
    process = [(0.0, middle), (0.0, bottom)]
    return [
        area(Location(level, segment, depth), corners, body),
        joint,
        joint.mirror(),
        tube(Location(level, segment, depth + 0.22), process, 4.0, 0.6 * facet),
    ]


def _sacrum() -> list[Stroke]:
    corners = [(-48, 726), (48, 726), (36, 772), (15, 822), (-15, 822), (-36, 772)]
    joint = tube(
        Location("sacroiliac", _TRUNK, 0.76, LEFT),
        bezier((47, 724), (46, 760), (29, 796)),
        np.linspace(8.5, 6.0, 9),
        3.6,
    )
    crest = tube(Location("sacrum", _TRUNK, 0.88), [(0, 730), (0, 805)], 5.0, 1.2)
    coccyx = tube(Location("sacrum", _TRUNK, 0.86), [(0, 818), (0, 848)], [8.0, 5.0], 1.4)
    body = area(Location("sacrum", _TRUNK, 0.78), corners, 2.5)
    return [body, joint, joint.mirror(), crest, coccyx]


def ribs() -> list[Stroke]:
    """Twelve pairs of ribs, each in parts of different depth: back, side and front."""
    strokes: list[Stroke] = []
    heads = np.linspace(THORACIC_TOP + 4, LUMBAR_TOP - 30, 12)
    for number, (row, head) in enumerate(zip(_RIB_TABLE, heads, strict=True), start=1):
        for stroke in _rib(number, row, float(head)):
            strokes += [stroke, stroke.mirror()]
    return strokes


def _rib(number: int, row: tuple[float, float, float, float], head: float) -> list[Stroke]:
    half, drop, end_x, end_drop = row
    name, side = f"rib_{number}", head + drop
    back = bezier((20, head), (0.78 * half, head + 0.02 * drop), (half, side), 13)
    parts = [
        tube(Location(name, _TRUNK, 0.90, LEFT), back[:8], 4.6, 1.45),
        tube(Location(name, _TRUNK, 0.72, LEFT), back[7:], np.linspace(4.6, 5.4, 6), 2.1),
    ]
    if end_x:
        low = side + end_drop
        front = bezier((half, side), (1.0 * half, side + 0.9 * end_drop), (end_x, low), 13)
        parts += [
            tube(Location(name, _TRUNK, 0.42, LEFT), front[:6], np.linspace(5.4, 4.8, 6), 2.1),
            tube(Location(name, _TRUNK, 0.16, LEFT), front[5:], 5.0, 0.95),
            ellipse(Location(name, _TRUNK, 0.10, LEFT), (end_x + 2, low), (6, 5), 0.5),
        ]
    return parts


def sternum() -> list[Stroke]:
    """Manubrium, body and xiphoid process, with the joints of the clavicles."""
    joint = ellipse(Location("sternum", _TRUNK, 0.12, LEFT), (25, 322), (9, 9), 1.7)
    manubrium = [(-31, 322), (-12, 328), (12, 328), (31, 322), (19, 368), (-19, 368)]
    return [
        area(Location("sternum", _TRUNK, 0.12), manubrium, 2.5),
        ellipse(Location("sternum", _TRUNK, 0.1), (0, 370), (15, 6), 1.3),
        tube(Location("sternum", _TRUNK, 0.1), [(0, 372), (0, 420), (0, 466)], [13, 15, 12], 2.0),
        tube(Location("sternum", _TRUNK, 0.1), [(0, 466), (0, 488)], [6, 3], 1.0),
        ellipse(Location("larynx", _TRUNK, 0.15), (0, 272), (13, 19), 1.5),
        joint,
        joint.mirror(),
    ]


def pelvis() -> list[Stroke]:
    """Iliac wings and crests, acetabula, pubic and ischial rami."""
    strokes: list[Stroke] = []
    for stroke in (*_ilium(), *_lower_pelvis()):
        strokes += [stroke, stroke.mirror()]
    symphysis = tube(Location("pubis", _TRUNK, 0.22), [(0, 822), (0, 850)], 7.0, 1.2)
    return [*strokes, symphysis]


def _ilium() -> list[Stroke]:
    crest = bezier((50, 712), (78, 632), (122, 704), 15)
    wing = [*crest, (124, 742), (104, 784), (78, 782), (50, 758)]
    return [
        area(Location("ilium", _TRUNK, 0.55, LEFT), wing, 1.5),
        tube(Location("ilium", _TRUNK, 0.80, LEFT), crest[:8], np.linspace(9, 7, 8), 2.2),
        tube(Location("ilium", _TRUNK, 0.35, LEFT), crest[7:], np.linspace(7, 8, 8), 1.7),
        ellipse(Location("ilium", _TRUNK, 0.16, LEFT), (122, 724), (7, 14), 1.6),
        tube(Location("ilium", _TRUNK, 0.84, LEFT), [(50, 712), (52, 752)], 7.0, 1.5),
    ]


def _lower_pelvis() -> list[Stroke]:
    return [
        ring(Location("acetabulum", _TRUNK, 0.5, LEFT), (90, 799), (34, 33), (17, 1.7)),
        tube(Location("pubis", _TRUNK, 0.3, LEFT), bezier((70, 806), (38, 806), (6, 826)), 7.5, 2.1),
        tube(Location("ischium", _TRUNK, 0.5, LEFT), bezier((8, 846), (26, 872), (50, 880)), 7.0, 2.0),
        tube(Location("ischium", _TRUNK, 0.72, LEFT), [(82, 822), (64, 872)], [13, 12], 2.7),
    ]
