"""Nuclear medicine clutter: NM objects that are not usable bone scans (PS3.3 C.8.4)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.tag import BaseTag, Tag
from pydicom.uid import NuclearMedicineImageStorage

from bsbatch_build.phantom.dialects import (
    ANTERIOR,
    POSTERIOR,
    PhantomScan,
    separate_series,
    standard_codes,
)
from bsbatch_build.phantom.encoding import Encoding, encode
from bsbatch_build.phantom.headers import (
    Instance,
    Pixels,
    add_detectors,
    add_isotope,
    add_nm_image,
    common,
    detector,
    pointers,
    whole_body,
)

_DESCRIPTION = "Bone scan"
_SMALL = 64
_PIXEL = 4.8
"""Millimetres per pixel of the small matrices."""


def nm_file(dataset: Dataset) -> bytes:
    """Encode an NM object as an explicit little endian file."""
    return encode(dataset, Encoding.EXPLICIT, NuclearMedicineImageStorage)


def _nm_object(scan: PhantomScan, pixels: Pixels, image_type: str, spacing: float) -> Dataset:
    name = image_type.capitalize()
    instance = Instance(image_type, 1, _DESCRIPTION, name, after=1800)
    dataset = common(scan.origin, instance, "NM", NuclearMedicineImageStorage)
    add_nm_image(dataset, pixels, image_type, spacing)
    add_isotope(dataset)
    add_detectors(dataset, [detector(180)], 1)
    return dataset


def _ball(rng: Generator, frames: int, counts: float) -> NDArray[np.uint16]:
    """Draw frames of a blurred ball: an image that does not resemble a body."""
    y, x = np.mgrid[-1 : 1 : _SMALL * 1j, -1 : 1 : _SMALL * 1j]
    shape = np.exp(-3.0 * (x**2 + y**2))
    return rng.poisson(counts * shape, (frames, _SMALL, _SMALL)).astype(np.uint16)


def spot_view(scan: PhantomScan, _: Generator) -> bytes:
    """A STATIC view of the thorax."""
    rows, columns = scan.views[ANTERIOR].shape
    top = rows // 6
    part = np.ascontiguousarray(scan.views[ANTERIOR][top : top + columns])
    spacing = scan.origin.spacing
    dataset = _nm_object(scan, part[np.newaxis], "STATIC", spacing)
    dataset.ActualFrameDuration = "300000"
    return nm_file(dataset)


def dynamic_scan(scan: PhantomScan, rng: Generator) -> bytes:
    """The flow phase of a three-phase scan."""
    frames = 8
    dataset = _nm_object(scan, _ball(rng, frames, 6.0), "DYNAMIC", _PIXEL)
    dataset.FrameIncrementPointer = _pointer(0x0010, 0x0020, 0x0030, 0x0100)
    dataset.EnergyWindowVector = dataset.DetectorVector = dataset.PhaseVector = [1] * frames
    dataset.TimeSliceVector = list(range(1, frames + 1))
    phase = Dataset()
    phase.PhaseDelay, phase.ActualFrameDuration, phase.PauseBetweenFrames = "0", "2000", "0"
    phase.NumberOfFramesInPhase = frames
    dataset.NumberOfPhases = 1
    dataset.PhaseInformationSequence = Items([phase])
    return nm_file(dataset)


def _pointer(*elements: int) -> list[BaseTag]:
    return pointers(*(Tag(0x0054, element) for element in elements))


def tomography(scan: PhantomScan, rng: Generator) -> bytes:
    """Projections of a SPECT acquisition."""
    frames = 16
    dataset = _nm_object(scan, _ball(rng, frames, 4.0), "TOMO", _PIXEL)
    dataset.FrameIncrementPointer = _pointer(0x0010, 0x0020, 0x0050, 0x0090)
    dataset.EnergyWindowVector = dataset.DetectorVector = dataset.RotationVector = [1] * frames
    dataset.AngularViewVector = list(range(1, frames + 1))
    dataset.NumberOfRotations = 1
    dataset.RotationInformationSequence = Items([_rotation(frames)])
    del dataset.DetectorInformationSequence[0].StartAngle
    return nm_file(dataset)


def _rotation(frames: int) -> Dataset:
    turn = Dataset()
    turn.StartAngle, turn.AngularStep, turn.RotationDirection = "0", "22.5", "CW"
    turn.ScanArc, turn.ActualFrameDuration = "360", "15000"
    turn.NumberOfFramesInRotation = frames
    return turn


def reconstruction(scan: PhantomScan, rng: Generator) -> bytes:
    """Slices of a reconstructed SPECT."""
    frames = 16
    dataset = _nm_object(scan, _ball(rng, frames, 30.0), "RECON TOMO", _PIXEL)
    dataset.FrameIncrementPointer = _pointer(0x0080)
    dataset.SliceVector = list(range(1, frames + 1))
    dataset.NumberOfSlices = frames
    dataset.NumberOfRotations = 1
    dataset.RotationInformationSequence = Items([_rotation(frames)])
    dataset.SpacingBetweenSlices = dataset.SliceThickness = f"{_PIXEL}"
    head = dataset.DetectorInformationSequence[0]
    head.ImagePositionPatient = ["0", "0", "0"]
    head.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    del head.StartAngle, dataset.EnergyWindowVector, dataset.DetectorVector
    return nm_file(dataset)


def scan_cut_short(scan: PhantomScan, _: Generator) -> bytes:
    """A whole-body scan whose file ends within the pixel data."""
    data = nm_file(standard_codes(scan)[0])
    return data[: int(0.6 * len(data))]


def lone_view(scan: PhantomScan, _: Generator) -> bytes:
    """One view of a pair; the other one is missing."""
    return nm_file(separate_series(replace(scan, variant=0))[0])


def scan_without_labels(scan: PhantomScan, _: Generator) -> bytes:
    """Two frames without any view label."""
    pixels = scan.stack_views(ANTERIOR, POSTERIOR)
    instance = Instance("whole body", 1, _DESCRIPTION, "Whole body")
    dataset = whole_body(scan.origin, instance, pixels)
    add_detectors(dataset, [detector(None), detector(None)], 2)
    return nm_file(dataset)


def scan_with_contradictions(scan: PhantomScan, _: Generator) -> bytes:
    """View codes whose meanings contradict them."""
    dataset = standard_codes(replace(scan, variant=1))[0]
    first, second = (head.ViewCodeSequence[0] for head in dataset.DetectorInformationSequence)
    first.CodeMeaning, second.CodeMeaning = second.CodeMeaning, first.CodeMeaning
    return nm_file(dataset)


def scan_with_zero_view(scan: PhantomScan, _: Generator) -> bytes:
    """An acquisition whose second detector was off."""
    anterior, posterior = scan.views
    silent = replace(scan, views=(anterior, np.zeros_like(posterior)))
    return nm_file(standard_codes(silent)[0])
