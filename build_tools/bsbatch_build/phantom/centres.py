"""Three centres, each with its own cameras, protocols, header dialects and prevalence.

Numbers of patients are those of Ibrahim et al., Cancer Imaging 2023;23:12, table 1. Counts range
from fast protocols (0.3 to 0.7 M per view) to a slow one (3.6 M), as in real headers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.random import Generator

from bsbatch_build.phantom.render import Optics


class Dialect(StrEnum):
    """A vendor's way to encode an examination in DICOM objects."""

    GE_TWO_FRAME = "ge_two_frame"
    SIEMENS_TWO_FRAME = "siemens_two_frame"
    GE_OLD_SINGLE = "ge_old_single"
    SEPARATE_SERIES = "separate_series"
    STANDARD_CODES = "standard_codes"
    EMPTIED = "emptied"


@dataclass(frozen=True, slots=True)
class Camera:
    """A gamma camera: header values and imaging properties."""

    manufacturer: str
    model: str
    software: str
    spacing: float
    """Millimetres per pixel at 1024 x 256."""
    intrinsic: float
    """Intrinsic resolution, full width at half maximum in millimetres."""
    collimator: tuple[float, float]
    """Hole width and effective hole length in millimetres."""
    speed: float
    """Table speed in millimetres per second."""


GE_670 = Camera("GE MEDICAL SYSTEMS", "Discovery NM/CT 670", "Xeleris 3.1108", 2.40112, 3.9, (1.5, 33.0), 4.43)
GE_MG = Camera("GE Medical Systems", "MILLENNIUM MG", "2.0", 2.26, 3.8, (1.8, 33.0), 1.67)
GE_INFINIA = Camera("GE MEDICAL SYSTEMS", "INFINIA", "Xeleris 2.1753", 2.2596, 4.0, (1.5, 33.0), 2.0)
SYMBIA = Camera("SIEMENS NM", "Symbia T6", "VA60C", 2.3976, 3.8, (1.11, 22.6), 3.3)
BRIGHTVIEW = Camera("Philips Medical Systems", "BrightView XCT", "2.5.4", 2.332, 3.3, (1.22, 26.2), 2.5)
ANYSCAN = Camera("Mediso", "AnyScan SC", "Nucline 3.00", 2.24, 3.4, (1.2, 25.5), 2.2)


@dataclass(frozen=True, slots=True)
class CameraInstallation:
    """A camera of a centre, with the dialect of its archive."""

    share: float
    """Share of the centre's examinations, 0 to 1."""
    camera: Camera
    dialect: Dialect


@dataclass(frozen=True, slots=True)
class Centre:
    """One hospital."""

    name: str
    patients: int
    positives: int
    installations: tuple[CameraInstallation, ...]
    counts: tuple[float, float, float, float]
    """Counts per view: median, log standard deviation, minimum and maximum."""
    odd_matrix: float
    """Share of 1024 x 512 and 512 x 256 matrices."""
    gap: tuple[float, float]
    """Range of the distance from the collimator to the patient in millimetres."""
    test: bool = False
    """True if its examinations are the external test set."""


CENTRES = {
    "A": Centre(
        name="A",
        patients=1019,
        positives=293,
        installations=(
            CameraInstallation(0.55, SYMBIA, Dialect.SIEMENS_TWO_FRAME),
            CameraInstallation(0.25, GE_670, Dialect.GE_TWO_FRAME),
            CameraInstallation(0.20, SYMBIA, Dialect.SEPARATE_SERIES),
        ),
        counts=(0.62e6, 0.35, 0.30e6, 1.6e6),
        odd_matrix=0.0,
        gap=(45.0, 75.0),
    ),
    "B": Centre(
        name="B",
        patients=348,
        positives=118,
        installations=(
            CameraInstallation(0.45, GE_MG, Dialect.GE_OLD_SINGLE),
            CameraInstallation(0.30, GE_670, Dialect.GE_TWO_FRAME),
            CameraInstallation(0.25, BRIGHTVIEW, Dialect.STANDARD_CODES),
        ),
        counts=(1.1e6, 0.45, 0.35e6, 3.6e6),
        odd_matrix=0.04,
        gap=(45.0, 90.0),
    ),
    "C": Centre(
        name="C",
        patients=998,
        positives=411,
        installations=(
            CameraInstallation(0.30, ANYSCAN, Dialect.STANDARD_CODES),
            CameraInstallation(0.25, GE_INFINIA, Dialect.GE_TWO_FRAME),
            CameraInstallation(0.25, SYMBIA, Dialect.EMPTIED),
            CameraInstallation(0.20, BRIGHTVIEW, Dialect.SEPARATE_SERIES),
        ),
        counts=(1.5e6, 0.40, 0.45e6, 3.6e6),
        odd_matrix=0.08,
        gap=(60.0, 105.0),
        test=True,
    ),
}
"""By name, in the order of the paper."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows and columns of a view."""

    rows: int
    columns: int
    spacing: float | None = None
    """Millimetres per pixel; None for the camera's own at 1024 x 256."""


_USUAL = Matrix(1024, 256)
_ODD = (Matrix(1024, 512, 1.95), Matrix(512, 256, 3.9))
"""Matrices with a wider field of view: 2 m by 1 m."""

_FIRST_ROW = (6, 46)
_SCANNED = (0.745, 0.835)
"""Range of the share of rows scanned by the moving table; 73 to 84 % in real scans."""
_LOW_COUNTS, _LOW_FACTOR = 0.06, 0.55
"""Share of scans with too few counts, and the factor on their counts."""
_TRUNCATED = 0.03
"""Share of patients with the head outside the scan."""
_ABOVE, _CUT = (15.0, 70.0), (-180.0, -40.0)
"""Ranges of millimetres from the first scanned row to the vertex: whole body, truncated scan."""
_TABLE = 1860.0
"""Millimetres scanned with the wider fields of view."""
_MASKED = 0.05
"""Share of the columns outside the field of view, at each side."""


@dataclass(frozen=True, slots=True)
class Acquisition:
    """One whole-body scan: camera, matrix and counts."""

    centre: Centre
    camera: Camera
    dialect: Dialect
    optics: Optics
    window: tuple[int, int]
    """First and last row (exclusive) with counts."""
    mask: int
    """Columns without counts, at each side."""
    totals: tuple[float, float]
    """Expected counts, anterior and posterior."""
    posterior_first: bool


def draw_acquisition(rng: Generator, centre: Centre, installation: CameraInstallation) -> Acquisition:
    """Draw matrix, resolution, counts and patient position."""
    matrix = _USUAL if rng.random() >= centre.odd_matrix else _ODD[int(rng.integers(len(_ODD)))]
    spacing = matrix.spacing or installation.camera.spacing
    first = round(int(rng.integers(*_FIRST_ROW)) * matrix.rows / _USUAL.rows)
    scanned = float(rng.uniform(*_SCANNED)) * matrix.rows
    length = _TABLE / spacing if matrix.spacing else scanned
    return Acquisition(
        centre=centre,
        camera=installation.camera,
        dialect=installation.dialect,
        optics=_draw_optics(rng, centre, installation.camera, (matrix, spacing, first)),
        window=(first, min(round(first + length), matrix.rows)),
        mask=round(_MASKED * matrix.columns),
        totals=_draw_totals(rng, centre),
        posterior_first=bool(rng.random() < _POSTERIOR_FIRST),
    )


def _draw_optics(rng: Generator, centre: Centre, camera: Camera, grid: tuple[Matrix, float, int]) -> Optics:
    matrix, spacing, first = grid
    above = rng.uniform(*(_CUT if rng.random() < _TRUNCATED else _ABOVE))
    return Optics(
        rows=matrix.rows,
        columns=matrix.columns,
        spacing=spacing,
        intrinsic=camera.intrinsic * float(rng.uniform(0.95, 1.1)),
        collimator=camera.collimator[0],
        hole_length=camera.collimator[1],
        gap=float(rng.uniform(*centre.gap)),
        margin=first * spacing + float(above),
        centre=float(rng.normal(0.5, 0.015)),
    )


_POSTERIOR_FIRST = 0.12


def _draw_totals(rng: Generator, centre: Centre) -> tuple[float, float]:
    median, spread, least, greatest = centre.counts
    total = median * float(np.exp(rng.normal(0.0, spread)))
    if rng.random() < _LOW_COUNTS:
        total *= _LOW_FACTOR
    ratio = float(rng.normal(1.0, 0.06))
    anterior, posterior = (float(np.clip(x, least, greatest)) for x in (total, total * ratio))
    return anterior, posterior
