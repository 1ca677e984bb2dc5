"""Tags, keywords and VRs of the DICOM attributes that both header readers extract."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from pydicom.datadict import dictionary_VR, tag_for_keyword

IsWanted = Callable[[str, str], bool]
"""Called with Modality and SOP Class UID, empty if absent; False if no more than `OUTLINE` is wanted of an object."""


class Attribute(NamedTuple):
    """One attribute of PS3.6, without its tag."""

    keyword: str
    vr: bytes
    """Value representation: two letters, or ``US or SS``, of which a file has either."""


def _table(*keywords: str) -> dict[int, Attribute]:
    tags = {keyword: tag_for_keyword(keyword) or 0 for keyword in keywords}
    return {int(tag): Attribute(keyword, dictionary_VR(tag).encode()) for keyword, tag in tags.items()}


CHARACTER_SET = _table("SpecificCharacterSet")

META = _table(
    "FileMetaInformationGroupLength", "MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID"
)
"""Attributes of the file meta information, PS3.10 section 7.1."""

OUTLINE = CHARACTER_SET | _table(
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "AcquisitionDate",
    "AcquisitionDateTime",
    "AcquisitionTime",
    "Modality",
    "Manufacturer",
    "ManufacturerModelName",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "NumberOfFrames",
    "Rows",
    "Columns",
)
"""Attributes of a row of ``objects``; all that is read of an object of another modality."""
LAST_OF_OUTLINE = max(OUTLINE)

GENIE_CREATOR = Attribute("GenieCreator", b"LO")
GENIE_LABELS = Attribute("GenieDatasetName", b"LO"), Attribute("GeniePictureObjectName", b"LO")
GENIE = {0x00110010: GENIE_CREATOR, 0x00111012: GENIE_LABELS[0], 0x00111030: GENIE_LABELS[1]}
"""Private creator, and the labels of data set and picture that GE's Genie and Xeleris workstations write."""

BEGINNING = OUTLINE | _table("ContentDate", "StudyDate", "StudyTime", "AccessionNumber")
"""Attributes up to Modality, after which it is known whether more are wanted."""

FULL = (
    BEGINNING
    | _table(
        "SeriesDescription",
        "StudyDescription",
        "InstitutionName",
        "RequestingService",
        "PatientBirthDate",
        "PatientSex",
        "PatientAge",
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "CountsAccumulated",
        "Radionuclide",
        "Radiopharmaceutical",
        "EnergyWindowCenterline",
        "EnergyWindowTotalWidth",
        "WholeBodyTechnique",
        "ScanLength",
        "ViewPosition",
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "PixelSpacing",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
        "PixelPaddingValue",
        "PixelPaddingRangeLimit",
        "RescaleIntercept",
        "RescaleSlope",
        "LossyImageCompression",
        "ModalityLUTSequence",
        "EnergyWindowVector",
        "EnergyWindowInformationSequence",
        "RadiopharmaceuticalInformationSequence",
        "DetectorVector",
        "DetectorInformationSequence",
        "ViewCodeSequence",
        "ImageID",
    )
    | GENIE
)
"""Attributes of a `bsbatch.records.Header`."""

EVERY = META | FULL
"""Attributes of a whole file."""

OF_DRUGS = "Radionuclide", "Radiopharmaceutical", "RadiopharmaceuticalInformationSequence"
"""Keywords that name what was injected."""


OF_STUDY = (
    *("AccessionNumber", "StudyDate", "StudyTime", "StudyDescription", "InstitutionName", "RequestingService"),
    *("PatientBirthDate", "PatientSex", "PatientAge"),
)
"""Keywords of the values of `bsbatch.patients.record.StudyAttributes`, behind the character set."""


class Order(NamedTuple):
    """Keywords of the attributes that make a `bsbatch.records.Header`, in the order in which their values are kept."""

    own: tuple[str, ...]
    """In these the objects of a series, or of a camera, differ."""
    shared: tuple[str, ...]

    def arrange(self, raw: Mapping[str, bytes]) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        """Return the values of `own` and of `shared`, empty where one is absent."""
        own, shared = (tuple(raw.get(keyword, b"") for keyword in keywords) for keywords in self)
        return own, shared


def _order(table: dict[int, Attribute], *own: str) -> Order:
    first = "SpecificCharacterSet", "TransferSyntaxUID"
    rest = {attribute.keyword for attribute in table.values()} - {*own, *first, "FileMetaInformationGroupLength"}
    return Order(own, (*first, *sorted(rest)))


_OF_INSTANCE = "SOPInstanceUID", "MediaStorageSOPInstanceUID", "AcquisitionTime", "AcquisitionDateTime"
ORDER_OF_OUTLINE = _order(META | OUTLINE, *_OF_INSTANCE)
"""Of an object of which no more than `OUTLINE` is wanted; a series shares the rest."""
ORDER = _order(
    EVERY,
    *_OF_INSTANCE,
    *("AcquisitionDate", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
    *("PatientID", "IssuerOfPatientID", "PatientName", "ContentDate", "CountsAccumulated"),
    *OF_STUDY,
    *OF_DRUGS,
)
"""Of any other object; the objects of a camera share the rest."""

CODE = CHARACTER_SET | _table("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
DETECTOR = CHARACTER_SET | _table("StartAngle", "ViewCodeSequence")
_CENTRE = _table("EnergyWindowCenterline", "EnergyWindowTotalWidth")
WINDOW = CHARACTER_SET | _CENTRE | _table("EnergyWindowRangeSequence")
ENERGY_RANGE = CHARACTER_SET | _CENTRE | _table("EnergyWindowLowerLimit", "EnergyWindowUpperLimit")
DRUG = CHARACTER_SET | _table(
    "Radiopharmaceutical",
    "RadiopharmaceuticalStartTime",
    "RadiopharmaceuticalStartDateTime",
    "RadionuclideCodeSequence",
    "RadiopharmaceuticalCodeSequence",
)
"""Attributes in the items of View Code, Detector Information, Energy Window Information, Energy Window Range and
Radiopharmaceutical Information."""
LIMITS = "EnergyWindowLowerLimit", "EnergyWindowUpperLimit", "EnergyWindowCenterline", "EnergyWindowTotalWidth"
"""Keywords of the values that `bsbatch.dicom.headers.energies.range_of` reads."""
