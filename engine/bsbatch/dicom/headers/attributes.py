"""The attributes that bsbatch reads, by tag: a leaf that both readers of headers go by."""

from typing import NamedTuple

from pydicom.datadict import dictionary_VR, tag_for_keyword


class Attribute(NamedTuple):
    """One attribute of PS3.6."""

    keyword: str
    vr: bytes
    """Value representation, two letters."""


def _table(*keywords: str) -> dict[int, Attribute]:
    tags = {keyword: tag_for_keyword(keyword) or 0 for keyword in keywords}
    return {int(tag): Attribute(keyword, dictionary_VR(tag).encode()) for keyword, tag in tags.items()}


CHARACTER_SET = _table("SpecificCharacterSet")

META = _table(
    "FileMetaInformationGroupLength", "MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID"
)
"""Of the file meta information, PS3.10 section 7.1."""

OUTLINE = CHARACTER_SET | _table(
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "AcquisitionDate",
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
"""What a row of ``objects`` says; of another modality nothing else is read."""
LAST_OF_OUTLINE = max(OUTLINE)

GENIE_CREATOR = Attribute("GenieCreator", b"LO")
GENIE_LABELS = Attribute("GenieDatasetName", b"LO"), Attribute("GeniePictureObjectName", b"LO")
GENIE = {0x00110010: GENIE_CREATOR, 0x00111012: GENIE_LABELS[0], 0x00111030: GENIE_LABELS[1]}
"""Private labels of GE's Genie and Xeleris workstations: of the data set and of the picture."""

FULL = (
    OUTLINE
    | _table(
        "SeriesDescription",
        "CountsAccumulated",
        "ScanLength",
        "ViewPosition",
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "PixelSpacing",
        "BitsAllocated",
        "BitsStored",
        "PixelRepresentation",
        "RescaleIntercept",
        "RescaleSlope",
        "LossyImageCompression",
        "EnergyWindowVector",
        "EnergyWindowInformationSequence",
        "DetectorVector",
        "DetectorInformationSequence",
        "ViewCodeSequence",
        "ImageID",
    )
    | GENIE
)
"""What `bsbatch.records.Header` holds."""

EVERY = META | FULL
"""Of a whole file."""

CODE = CHARACTER_SET | _table("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
DETECTOR = CHARACTER_SET | _table("StartAngle", "ViewCodeSequence")
WINDOW = CHARACTER_SET | _table("EnergyWindowRangeSequence")
ENERGY_RANGE = CHARACTER_SET | _table("EnergyWindowLowerLimit", "EnergyWindowUpperLimit")
"""Of items of the sequences above."""
