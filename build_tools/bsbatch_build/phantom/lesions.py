"""Bone metastases: number, sites, sizes and contrasts.

Sites follow World J Radiol 2024;16:265 (150 patients). The mean number of lesions is that of Liu et
al., BMC Med Imaging 2021;21:131 (14,972 lesions of 3,352 patients). Contrasts reach from faint to the
6:1 of the SIM bone phantom (2021). Superscans are 10 of the 150 patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from bsbatch_build.phantom.geometry import Location, Points, Segment, Stroke


@dataclass(frozen=True, slots=True)
class Site:
    """A group of bones, with the number of patients with lesions there, out of 150."""

    patients: int
    bones: tuple[str, ...]
    """Prefixes of the names in Location.bone."""


SITES = (
    Site(68, ("ilium", "acetabulum", "pubis", "ischium", "sacr")),
    Site(63, ("cervical", "thoracic", "lumbar")),
    Site(55, ("rib",)),
    Site(42, ("sternum",)),
    Site(41, ("femur",)),
    Site(41, ("scapula",)),
    Site(32, ("skull",)),
    Site(29, ("clavicle",)),
    Site(23, ("humerus",)),
)


@dataclass(frozen=True, slots=True)
class LesionRanges:
    """Parameters of the distributions; log-normal ones as median, log standard deviation, minimum, maximum."""

    superscan: float = 10 / 150
    """Share of the patients with metastases."""
    further: float = 3.0
    """Mean number of lesions beyond the first (geometric)."""
    most: int = 32
    """Largest number of lesions without a superscan."""
    superscan_lesions: tuple[int, int] = (40, 90)
    """Least (inclusive) and most (exclusive). The 8-bit numbers in the masks allow 254 at most."""
    diameter: tuple[float, float, float, float] = (23.0, 0.38, 10.0, 60.0)
    """Millimetres."""
    contrast: tuple[float, float, float, float] = (2.9, 0.42, 1.5, 9.0)
    """Ratio of the lesion's uptake to that of its bone."""
    least_uptake: float = 1.3
    """Lower limit of the bone uptake in that ratio, so that lesions of faint bones remain visible."""


RANGES = LesionRanges()


@dataclass(frozen=True, slots=True)
class SuperscanGains:
    """Factors of a superscan on uptake: in bones, organs, soft tissue and lesions (BONENAVI 2020: kidneys vanish)."""

    axial: float = 2.1
    limbs: float = 1.3
    organs: float = 0.12
    soft: float = 0.45
    lesions: float = 1.7


SUPERSCAN = SuperscanGains()
_CONSPICUOUS = 6.0
"""Factor on the uptake of lesions in an easy set."""


@dataclass(frozen=True, slots=True)
class Disease:
    """The metastases of one patient."""

    lesions: tuple[Stroke, ...] = ()
    superscan: bool = False


def draw_disease(rng: Generator, bones: Sequence[Stroke]) -> Disease:
    """Draw the lesions of a patient with metastases, in the coordinates of the reference adult."""
    superscan = bool(rng.random() < RANGES.superscan)
    if superscan:
        number = int(rng.integers(*RANGES.superscan_lesions))
    else:
        number = min(int(rng.geometric(1.0 / (1.0 + RANGES.further))), RANGES.most)
    weights = np.array([site.patients for site in SITES], dtype=np.float64)
    sites = rng.choice(len(SITES), size=number, p=weights / weights.sum())
    lesions = [_lesion(rng, _hosts(bones, SITES[site])) for site in sites]
    if superscan:
        lesions = [lesion.scale_uptake(SUPERSCAN.lesions) for lesion in lesions]
    return Disease(tuple(lesions), superscan)


def make_conspicuous(disease: Disease) -> Disease:
    """Brighten the lesions until they are unmistakable."""
    return replace(disease, lesions=tuple(lesion.scale_uptake(_CONSPICUOUS) for lesion in disease.lesions))


def _hosts(bones: Sequence[Stroke], site: Site) -> list[Stroke]:
    return [stroke for stroke in bones if stroke.location.bone.startswith(site.bones)]


def _log_normal(rng: Generator, shape: tuple[float, float, float, float]) -> float:
    median, spread, least, greatest = shape
    return float(np.clip(median * np.exp(rng.normal(0.0, spread)), least, greatest))


def _lesion(rng: Generator, hosts: Sequence[Stroke]) -> Stroke:
    host = hosts[int(rng.integers(len(hosts)))]
    radius = 0.5 * _log_normal(rng, RANGES.diameter)
    added = (_log_normal(rng, RANGES.contrast) - 1.0) * max(host.uptake, RANGES.least_uptake)
    index = int(rng.integers(len(host.axis)))
    centre = host.axis[index] + rng.normal(0.0, 1.5, 2)
    contour = irregular(rng, centre, radius, _direction(host, index))
    location = replace(host.location, bone="lesion")
    return Stroke(location, contour, centre[np.newaxis], added)


def _direction(host: Stroke, index: int) -> float:
    """Return the angle of the bone's axis in radians; lesions are stretched along it."""
    before, after = host.axis[max(index - 1, 0)], host.axis[min(index + 1, len(host.axis) - 1)]
    return float(np.arctan2(after[1] - before[1], after[0] - before[0]))


def irregular(rng: Generator, centre: Points, radius: float, direction: float) -> Points:
    """Draw a lumpy outline (20, 2), stretched by up to 60 % along ``direction`` (radians)."""
    angle = np.linspace(0.0, 2.0 * np.pi, 20, endpoint=False)
    lumps = 1.0 + sum(
        rng.normal(0.0, 0.12) * np.cos(order * angle + rng.uniform(0.0, 2.0 * np.pi)) for order in (2, 3, 4)
    )
    stretch = rng.uniform(1.0, 1.6)
    along, across = (
        radius * lumps * np.cos(angle) * stretch,
        radius * lumps * np.sin(angle) / stretch,
    )
    cosine, sine = np.cos(direction), np.sin(direction)
    turned = np.stack([along * cosine - across * sine, along * sine + across * cosine], axis=1)
    return np.asarray(centre + turned)


def spot(rng: Generator, location: Location, centre: tuple[float, float], size: tuple[float, float]) -> Stroke:
    """Draw a lumpy focus of ``size`` (radius in millimetres, uptake)."""
    middle = np.asarray(centre, dtype=np.float64)
    contour = irregular(rng, middle, size[0], rng.uniform(0.0, np.pi))
    return Stroke(location, contour, middle[np.newaxis], size[1])


def apply_superscan(stroke: Stroke) -> Stroke:
    """Return a bone's stroke with the uptake it has in a patient with a superscan."""
    axial = stroke.location.segment in (Segment.TRUNK, Segment.HEAD)
    return stroke.scale_uptake(SUPERSCAN.axial if axial else SUPERSCAN.limbs)
