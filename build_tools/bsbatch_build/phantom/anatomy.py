"""The reference adult: all strokes, drawn once and cached."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from bsbatch_build.phantom.axial import pelvis, ribs, skull, spine, sternum
from bsbatch_build.phantom.geometry import Segment, Stroke
from bsbatch_build.phantom.limbs import limbs
from bsbatch_build.phantom.soft import organs, outline

THICKNESS = {
    Segment.HEAD: 175.0,
    Segment.TRUNK: 215.0,
    Segment.UPPER_ARM: 85.0,
    Segment.FOREARM: 60.0,
    Segment.HAND: 35.0,
    Segment.THIGH: 150.0,
    Segment.SHANK: 105.0,
    Segment.FOOT: 90.0,
}
"""Body thickness from front to back in millimetres, at girth 1."""


@dataclass(frozen=True, slots=True)
class Anatomy:
    """Strokes of the reference adult."""

    bones: tuple[Stroke, ...]
    organs: tuple[Stroke, ...]
    soft: tuple[Stroke, ...]


@cache
def reference_adult() -> Anatomy:
    """Skeleton, organs and soft tissue outline without disease."""
    bones = (*skull(), *spine(), *ribs(), *sternum(), *pelvis(), *limbs())
    return Anatomy(bones, tuple(organs()), tuple(outline()))
