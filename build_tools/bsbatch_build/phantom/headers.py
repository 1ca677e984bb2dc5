"""Header modules of the NM Image IOD shared by all dialects (PS3.3 A.5 and C.8.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.tag import BaseTag, Tag
from pydicom.uid import NuclearMedicineImageStorage

from bsbatch_build.phantom.centres import Camera
from bsbatch_build.phantom.identity import Identity
from bsbatch_build.phantom.patient import Patient

NOTE = "Synthetic phantom. Not a person. Not for clinical use."

Pixels = NDArray[np.uint16] | NDArray[np.int16] | NDArray[np.uint8]
"""(frames, rows, columns)."""

_WINDOW_KEV = (129.96, 151.04)
"""Energy window of the GE 670 header: 140.5 keV ± 7.5 %."""

_ENERGY_WINDOW, _DETECTOR = Tag(0x0054, 0x0010), Tag(0x0054, 0x0020)


@dataclass(frozen=True, slots=True)
class Origin:
    """Patient, camera and identity of a study, as in its headers."""

    identity: Identity
    patient: Patient
    camera: Camera
    spacing: float
    """Millimetres per pixel."""


@dataclass(frozen=True, slots=True)
class Instance:
    """Series, number and descriptions of one object."""

    series: str
    """Key of its series within the study."""
    number: int | None
    """(0020,0013) Instance Number; None for an empty value."""
    study_description: str
    series_description: str
    after: int = 0
    """Seconds from the start of the study."""


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """Build one item of a code sequence (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = scheme
    item.CodeMeaning = meaning
    return item


def common(origin: Origin, instance: Instance, modality: str, sop_class: str) -> Dataset:
    """Build the patient, study, series, equipment and SOP common modules of any object."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = origin.identity.uid(instance.series, instance.number or 0, modality)
    dataset.Modality = modality
    dataset.InstanceNumber = "" if instance.number is None else str(instance.number)
    _add_study(dataset, origin.identity, instance)
    _add_patient(dataset, origin.identity, origin.patient)
    dataset.Manufacturer = origin.camera.manufacturer
    dataset.ManufacturerModelName = origin.camera.model
    dataset.SoftwareVersions = origin.camera.software
    dataset.InstitutionName = "Synthetic phantom"
    dataset.BodyPartExamined = "WHOLEBODY"
    return dataset


def _add_study(dataset: Dataset, identity: Identity, instance: Instance) -> None:
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = identity.date
    dataset.ContentDate = identity.date
    dataset.StudyTime = identity.time
    later = identity.time_after(instance.after)
    dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = later
    dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = instance.study_description
    dataset.SeriesDescription = instance.series_description
    dataset.StudyInstanceUID = identity.study_uid
    dataset.SeriesInstanceUID = identity.uid(instance.series)
    dataset.StudyID = identity.label
    dataset.SeriesNumber = str(1 + int(identity.uid(instance.series)[-2:]))


def _add_patient(dataset: Dataset, identity: Identity, patient: Patient) -> None:
    dataset.PatientName = identity.patient_name
    dataset.PatientID = identity.patient_id
    dataset.PatientBirthDate = ""
    dataset.PatientSex = patient.sex.value
    dataset.PatientAge = f"{patient.age:03d}Y"
    dataset.PatientSize = f"{patient.height / 1000:.2f}"
    dataset.PatientWeight = f"{patient.weight:.1f}"


def add_pixels(dataset: Dataset, pixels: Pixels, spacing: float) -> None:
    """Add the Image Pixel and Multi-frame modules (PS3.3 C.7.6.3, C.7.6.6)."""
    frames, rows, columns = pixels.shape
    bits = 8 * pixels.dtype.itemsize
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.NumberOfFrames = str(frames)
    dataset.Rows, dataset.Columns = rows, columns
    dataset.PixelSpacing = [f"{spacing:.6g}", f"{spacing:.6g}"]
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"


def add_nm_image(dataset: Dataset, pixels: Pixels, image_type: str, spacing: float) -> None:
    """Add the NM Image and NM/PET Patient Orientation modules (PS3.3 C.8.4.9, C.8.4.6)."""
    dataset.ImageType = ["ORIGINAL", "PRIMARY", image_type, "EMISSION"]
    dataset.ImageComments = NOTE
    dataset.CountsAccumulated = str(int(pixels.sum(dtype=np.int64)))
    dataset.AcquisitionTerminationCondition = "MANU"
    orientation = code("F-10450", "99SDM", "recumbent")
    orientation.PatientOrientationModifierCodeSequence = Items([code("F-10340", "99SDM", "supine")])
    dataset.PatientOrientationCodeSequence = Items([orientation])
    gantry = code("F-10470", "99SDM", "headfirst")
    dataset.PatientGantryRelationshipCodeSequence = Items([gantry])
    add_pixels(dataset, pixels, spacing)


def add_isotope(dataset: Dataset) -> None:
    """Add the NM Isotope module: one window at 140 keV, technetium-99m (PS3.3 C.8.4.10)."""
    limits = Dataset()
    limits.EnergyWindowLowerLimit, limits.EnergyWindowUpperLimit = (f"{kev}" for kev in _WINDOW_KEV)
    window = Dataset()
    window.EnergyWindowRangeSequence = Items([limits])
    window.EnergyWindowName = "Tc99m_EM"
    dataset.NumberOfEnergyWindows = 1
    dataset.EnergyWindowInformationSequence = Items([window])
    drug = Dataset()
    drug.Radiopharmaceutical = "Tc99m MDP"
    drug.RadionuclideCodeSequence = Items([code("C-163A8", "SRT", "^99m^Technetium")])
    dataset.RadiopharmaceuticalInformationSequence = Items([drug])


def add_detectors(dataset: Dataset, detectors: Sequence[Dataset], frames: int) -> None:
    """Add the NM Detector module and vectors: frame n belongs to detector n (PS3.3 C.8.4.8, C.8.4.11)."""
    dataset.FrameIncrementPointer = pointers(_ENERGY_WINDOW, _DETECTOR)
    dataset.EnergyWindowVector = [1] * frames if frames > 1 else 1
    dataset.DetectorVector = list(range(1, frames + 1)) if frames > 1 else 1
    dataset.NumberOfDetectors = len(detectors)
    dataset.DetectorInformationSequence = Items(detectors)


def pointers(*tags: BaseTag) -> list[BaseTag]:
    """Return a value of (0028,0009) Frame Increment Pointer."""
    return list(tags)


def detector(start_angle: int | None) -> Dataset:
    """Build one detector with a parallel-hole collimator; 0 degrees is at the patient's back."""
    item = Dataset()
    item.CollimatorGridName = "LEHR"
    item.CollimatorType = "PARA"
    item.FieldOfViewShape = "RECTANGLE"
    item.FocalDistance = "0"
    item.ZoomFactor = ["1", "1"]
    item.ImagePositionPatient = []
    item.ImageOrientationPatient = []
    if start_angle is not None:
        item.StartAngle = str(start_angle)
    return item


def whole_body(origin: Origin, instance: Instance, pixels: Pixels) -> Dataset:
    """Build a WHOLE BODY object of any dialect, without detectors."""
    dataset = common(origin, instance, "NM", NuclearMedicineImageStorage)
    add_nm_image(dataset, pixels, "WHOLE BODY", origin.spacing)
    add_isotope(dataset)
    length = round(pixels.shape[1] * origin.spacing * 0.78)
    dataset.ScanVelocity = f"{origin.camera.speed}"
    dataset.ScanLength = str(length)
    dataset.WholeBodyTechnique = "1PS"
    dataset.ActualFrameDuration = str(round(1000 * length / origin.camera.speed))
    dataset.FrameOfReferenceUID = origin.identity.uid("frame of reference")
    dataset.PositionReferenceIndicator = ""
    return dataset
