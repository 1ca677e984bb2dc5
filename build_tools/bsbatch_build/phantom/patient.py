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

_HEIGHT_RANGE = (1450.0, 1930.0)


class Sex(Enum):
    """Values of (0010,0040) Patient's Sex."""

    MALE = "M"
    FEMALE = "F"


@dataclass(frozen=True, slots=True)
class Posture:
    """Angles in degrees; positive turns a limb outwards. Pairs hold left, right."""

    head_tilt: float
    lean: float
    arms: tuple[float, float]
    elbows: tuple[float, float]
    thighs: tuple[float, float]
    shanks: tuple[float, float]
    feet: tuple[float, float]
    scoliosis: float
    """Greatest sideways bend of the spine in millimetres."""


@dataclass(frozen=True, slots=True)
class Kinetics:
    """Gains on the reference uptakes; 1 is the reference adult three hours after injection."""

    bone: float
    soft: float
    kidneys: tuple[float, float]
    bladder: float
    bladder_size: float


@dataclass(frozen=True, slots=True)
class Patient:
    """Everything about a patient but the disease."""

    sex: Sex
    age: int
    """Years."""
    height: float
    """Stature in millimetres."""
    frame: float
    """Skeletal width over that of the reference adult."""
    girth: float
    """Soft tissue width and depth over that of the reference adult."""
    posture: Posture
    kinetics: Kinetics

    @property
    def weight(self) -> float:
        """Body mass in kilograms, from a body mass index of 24 at girth 1."""
        return round(24.0 * self.girth**1.7 * (self.height / 1000.0) ** 2, 1)


def draw_patient(rng: Generator) -> Patient:
    """Draw build, posture and kinetics."""
    sex = Sex.MALE if rng.random() < 0.58 else Sex.FEMALE
    mean, spread = _HEIGHTS[sex.value]
    height = float(np.clip(rng.normal(mean, spread), *_HEIGHT_RANGE))
    return Patient(
        sex=sex,
        age=int(np.clip(rng.normal(66, 12), 25, 92)),
        height=height,
        frame=float(np.clip(rng.normal(1.0, 0.045), 0.88, 1.12) * (height / REFERENCE_HEIGHT) ** 0.6),
        girth=float(np.clip(rng.normal(1.04, 0.11), 0.84, 1.38)),
        posture=_draw_posture(rng),
        kinetics=_draw_kinetics(rng),
    )


def _pair(rng: Generator, mean: float, spread: float) -> tuple[float, float]:
    left, right = rng.normal(mean, spread, 2)
    return float(left), float(right)


def _draw_posture(rng: Generator) -> Posture:
    return Posture(
        head_tilt=float(rng.normal(0.0, 5.0)),
        lean=float(rng.normal(0.0, 0.8)),
        arms=_pair(rng, 8.5, 2.5),
        elbows=_pair(rng, -6.0, 5.0),
        thighs=_pair(rng, 1.5, 1.6),
        shanks=_pair(rng, -0.5, 1.4),
        feet=_pair(rng, 14.0, 11.0),
        scoliosis=float(rng.normal(0.0, 5.0)),
    )


def _draw_kinetics(rng: Generator) -> Kinetics:
    kidneys = np.exp(rng.normal(0.0, 0.45) + rng.normal(0.0, 0.15, 2))
    return Kinetics(
        bone=float(np.exp(rng.normal(0.0, 0.16))),
        soft=float(np.exp(rng.normal(0.0, 0.20))),
        kidneys=(float(kidneys[0]), float(kidneys[1])),
        bladder=float(np.exp(rng.normal(0.0, 0.75))),
        bladder_size=float(np.exp(rng.normal(0.0, 0.3))),
    )
