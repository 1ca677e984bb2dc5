"""One patient: build, posture and tracer kinetics, drawn from plausible ranges."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.random import Generator

REFERENCE_HEIGHT = 1720.0
"""Stature of the reference adult in millimetres."""

_HEIGHTS = {"M": (1750.0, 75.0), "F": (1630.0, 68.0)}
"""Mean and standard deviation of stature in millimetres."""

_MEN = 0.58
"""Share of men; prostate cancer leads among the reasons for referral."""

_HEIGHT_RANGE = (1450.0, 1930.0)


class Sex(Enum):
    """Values of (0010,0040) Patient's Sex."""

    MALE = "M"
    FEMALE = "F"


@dataclass(frozen=True, slots=True)
class Posture:
    """Joint angles in degrees; positive angles turn a limb outwards. Pairs hold left, right."""

    head_tilt: float
    lean: float
    arms: tuple[float, float]
    elbows: tuple[float, float]
    thighs: tuple[float, float]
    shanks: tuple[float, float]
    feet: tuple[float, float]
    scoliosis: float
    """Largest sideways bend of the spine in millimetres."""


@dataclass(frozen=True, slots=True)
class Kinetics:
    """Factors on the reference uptakes; 1 is the reference adult three hours after injection."""

    bone: float
    soft: float
    kidneys: tuple[float, float]
    bladder: float
    bladder_size: float


@dataclass(frozen=True, slots=True)
class Patient:
    """A patient without the disease: build, posture and tracer kinetics."""

    sex: Sex
    age: int
    """Years."""
    height: float
    """Stature in millimetres."""
    frame: float
    """Ratio of skeletal width to that of the reference adult."""
    girth: float
    """Ratio of soft tissue width and depth to those of the reference adult."""
    posture: Posture
    kinetics: Kinetics

    @property
    def weight(self) -> float:
        """Body mass in kilograms, from a body mass index of 24 at girth 1."""
        return round(24.0 * float(self.girth**1.7) * (self.height / 1000.0) ** 2, 1)


def draw_patient(rng: Generator) -> Patient:
    """Draw build, posture and kinetics."""
    sex = Sex.MALE if rng.random() < _MEN else Sex.FEMALE
    mean, spread = _HEIGHTS[sex.value]
    height = float(np.clip(rng.normal(mean, spread), *_HEIGHT_RANGE))
    girth = float(np.clip(rng.normal(1.04, 0.12), 0.84, 1.40))
    return Patient(
        sex=sex,
        age=int(np.clip(rng.normal(66, 12), 25, 92)),
        height=height,
        frame=float(np.clip(rng.normal(1.0, 0.045), 0.88, 1.12) * (height / REFERENCE_HEIGHT) ** 0.6),
        girth=girth,
        posture=_draw_posture(rng, girth),
        kinetics=_draw_kinetics(rng),
    )


def _pair(rng: Generator, mean: float, spread: float) -> tuple[float, float]:
    left, right = rng.normal(mean, spread, 2)
    return float(left), float(right)


@dataclass(frozen=True, slots=True)
class UnusualPostures:
    """Rates and ranges of unusual postures."""

    bent_elbow: float = 0.10
    """Share of patients with one hand on the pelvis or the belly."""
    elbow_range: tuple[float, float] = (-75.0, -25.0)
    """Degrees."""
    arm_out: float = 0.06
    """Share of patients with one arm outside the field of view."""
    arm_range: tuple[float, float] = (20.0, 45.0)
    """Degrees."""
    turned_feet: float = 0.12
    feet_range: tuple[float, float] = (-25.0, 55.0)
    """Degrees."""
    scoliosis: float = 0.08
    scoliosis_spread: float = 22.0
    """Standard deviation of the bend in millimetres."""


_UNUSUAL = UnusualPostures()


def _draw_posture(rng: Generator, girth: float) -> Posture:
    unusual = _UNUSUAL
    curved = rng.random() < unusual.scoliosis
    return Posture(
        head_tilt=float(rng.normal(0.0, 5.0)),
        lean=float(rng.normal(0.0, 0.8)),
        # the arms of a heavy patient follow the flanks
        arms=_draw_pair(rng, _pair(rng, 7.0 + 25.0 * (girth - 1.0), 2.5), unusual.arm_out, unusual.arm_range),
        elbows=_draw_pair(rng, _pair(rng, -6.0, 5.0), unusual.bent_elbow, unusual.elbow_range),
        thighs=_pair(rng, 1.5, 1.6),
        shanks=_pair(rng, -0.5, 1.4),
        feet=_draw_pair(rng, _pair(rng, 14.0, 11.0), unusual.turned_feet, unusual.feet_range),
        scoliosis=float(rng.normal(0.0, unusual.scoliosis_spread if curved else 4.0)),
    )


def _draw_pair(
    rng: Generator, usual: tuple[float, float], rate: float, range_: tuple[float, float]
) -> tuple[float, float]:
    """Return the usual pair; with probability ``rate``, one of the two is drawn from ``range_`` instead."""
    chance, which, angle = rng.random(), bool(rng.integers(2)), float(rng.uniform(*range_))
    if chance >= rate:
        return usual
    return (angle, usual[1]) if which else (usual[0], angle)


def _draw_kinetics(rng: Generator) -> Kinetics:
    kidneys = np.exp(rng.normal(0.0, 0.45) + rng.normal(0.0, 0.15, 2))
    return Kinetics(
        bone=float(np.exp(rng.normal(0.0, 0.16))),
        soft=float(np.exp(rng.normal(0.0, 0.20))),
        kidneys=(float(kidneys[0]), float(kidneys[1])),
        bladder=float(np.exp(rng.normal(0.0, 0.85))),
        bladder_size=float(np.exp(rng.normal(0.0, 0.3))),
    )
