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

from bsbatch_build.phantom.geometry import Place, Points, Segment, Stroke


@dataclass(frozen=True, slots=True)
class Site:
    """A group of bones and how many of 150 patients had lesions there."""

    patients: int
    bones: tuple[str, ...]
    """Beginnings of the names in Place.bone."""


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
    """Distributions; log-normal ones as median, log standard deviation, least and greatest."""

    superscan: float = 10 / 150
    """Share of the patients with metastases."""
    further: float = 3.0
    """Mean number of lesions beyond the first (geometric)."""
    most: int = 32
    """Greatest number outside superscans."""
    superscan_lesions: tuple[int, int] = (40, 90)
    """Masks number lesions in 8 bits: 254 would be the limit."""
    diameter: tuple[float, float, float, float] = (23.0, 0.38, 10.0, 60.0)
    """Millimetres."""
    contrast: tuple[float, float, float, float] = (2.9, 0.42, 1.5, 9.0)
    """Uptake of the lesion over that of its bone."""
    least_uptake: float = 1.3
    """Bones of less uptake than this count as having it, lest their lesions vanish."""


RANGES = LesionRanges()


@dataclass(frozen=True, slots=True)
class SuperscanGains:
    """What a superscan does to the uptake of everything else (BONENAVI 2020: kidneys vanish)."""

    axial: float = 2.1
    limbs: float = 1.3
    organs: float = 0.12
    soft: float = 0.45
    lesions: float = 1.7


SUPERSCAN = SuperscanGains()
_CONSPICUOUS = 6.0
"""Factor on the uptake of a lesion in an easy set."""


@dataclass(frozen=True, slots=True)
class Disease:
    """The metastases of one patient."""

    lesions: tuple[Stroke, ...] = ()
    superscan: bool = False


def draw_disease(rng: Generator, bones: Sequence[Stroke]) -> Disease:
    """Draw the lesions of a patient who has metastases, in the reference adult's coordinates."""
    superscan = bool(rng.random() < RANGES.superscan)
    if superscan:
        number = int(rng.integers(*RANGES.superscan_lesions))
    else:
        number = min(int(rng.geometric(1.0 / (1.0 + RANGES.further))), RANGES.most)
    weights = np.array([site.patients for site in SITES], dtype=np.float64)
    sites = rng.choice(len(SITES), size=number, p=weights / weights.sum())
    lesions = [_lesion(rng, _hosts(bones, SITES[site])) for site in sites]
    if superscan:
        lesions = [lesion.brightened(SUPERSCAN.lesions) for lesion in lesions]
    return Disease(tuple(lesions), superscan)


def made_conspicuous(disease: Disease) -> Disease:
    """The same lesions, so bright that nobody can miss them."""
    return replace(disease, lesions=tuple(lesion.brightened(_CONSPICUOUS) for lesion in disease.lesions))


def _hosts(bones: Sequence[Stroke], site: Site) -> list[Stroke]:
    return [stroke for stroke in bones if stroke.place.bone.startswith(site.bones)]


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
    place = replace(host.place, bone="lesion")
    return Stroke(place, contour, centre[np.newaxis], added)


def _direction(host: Stroke, index: int) -> float:
    """Angle of the bone's axis in radians; lesions grow along it."""
    before, after = host.axis[max(index - 1, 0)], host.axis[min(index + 1, len(host.axis) - 1)]
    return float(np.arctan2(after[1] - before[1], after[0] - before[0]))


def irregular(rng: Generator, centre: Points, radius: float, direction: float) -> Points:
    """A lumpy outline (20, 2), stretched along ``direction`` by up to 60 %."""
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


def spot(rng: Generator, place: Place, centre: tuple[float, float], size: tuple[float, float]) -> Stroke:
    """A lumpy focus of ``size`` (radius in millimetres, uptake)."""
    middle = np.asarray(centre, dtype=np.float64)
    contour = irregular(rng, middle, size[0], rng.uniform(0.0, np.pi))
    return Stroke(place, contour, middle[np.newaxis], size[1])


def with_superscan(stroke: Stroke) -> Stroke:
    """A bone's stroke in a patient with a superscan."""
    axial = stroke.place.segment in (Segment.TRUNK, Segment.HEAD)
    return stroke.brightened(SUPERSCAN.axial if axial else SUPERSCAN.limbs)
