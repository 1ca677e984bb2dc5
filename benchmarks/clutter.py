"""The bulk of a hospital archive: CT, MR and PET slices, radiographs, reports; headers of usual length."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian
from tests.archives import uid, with_pixels, write

_KINDS = (
    ("CT", "1.2.840.10008.5.1.4.1.1.2", 256),
    ("CT", "1.2.840.10008.5.1.4.1.1.2", 256),
    ("MR", "1.2.840.10008.5.1.4.1.1.4", 256),
    ("MR", "1.2.840.10008.5.1.4.1.1.4", 256),
    ("PT", "1.2.840.10008.5.1.4.1.1.128", 128),
    ("CR", "1.2.840.10008.5.1.4.1.1.1", 512),
    ("SR", "1.2.840.10008.5.1.4.1.1.88.11", 0),
)
"""Modality, SOP class, rows and columns; 0 for an object without pixels."""
_GEOMETRY = {
    "SliceThickness": "5",
    "KVP": "120",
    "DataCollectionDiameter": "500",
    "SpacingBetweenSlices": "5",
    "ProtocolName": "Routine",
    "ReconstructionDiameter": "360",
    "GantryDetectorTilt": "0",
    "TableHeight": "150",
    "RotationDirection": "CW",
    "ExposureTime": "500",
    "XRayTubeCurrent": "200",
    "Exposure": "100",
    "FilterType": "BODY",
    "ConvolutionKernel": "B30f",
    "PatientPosition": "HFS",
    "ImagePositionPatient": ["-180", "-180", "12.5"],
    "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
    "PixelSpacing": ["0.7", "0.7"],
    "SliceLocation": "12.5",
    "WindowCenter": "40",
    "WindowWidth": "400",
    "RescaleIntercept": "-1024",
    "RescaleSlope": "1",
}
_STUDY = {
    "SpecificCharacterSet": "ISO_IR 100",
    "StudyDate": "20200102",
    "SeriesDate": "20200102",
    "AcquisitionDate": "20200102",
    "ContentDate": "20200102",
    "StudyTime": "101500",
    "SeriesTime": "101600",
    "AcquisitionTime": "101700",
    "ContentTime": "101700",
    "AccessionNumber": "1",
    "Manufacturer": "Nobody",
    "InstitutionName": "Nowhere",
    "StationName": "SCANNER1",
    "StudyDescription": "Routine",
    "SeriesDescription": "Axial 5 mm",
    "ManufacturerModelName": "Test scanner",
    "PatientSex": "O",
    "PatientAge": "060Y",
    "PatientWeight": "70",
    "SoftwareVersions": "1.0",
    "StudyID": "1",
    "SeriesNumber": "2",
    "AcquisitionNumber": "1",
}
_PRIVATE = 24
"""Number of private elements, as vendors add them."""


def write_clutter(archive: Path, files: int) -> None:
    """Write ``files`` objects, none of them a bone scan."""
    for number in range(files):
        write(make_object(number), archive / f"{number // 100:03d}" / f"{number:06d}.dcm")


def make_object(number: int) -> FileDataset:
    """Make one object; every seventh is of the same kind."""
    modality, sop_class, side = _KINDS[number % len(_KINDS)]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(sop_class), UID(uid("clutter", number))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, uid("clutter", number)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid("study", number // 50), uid("series", number // 50)
    dataset.FrameOfReferenceUID, dataset.InstanceNumber = uid("frame", number // 50), number % 50 + 1
    dataset.Modality, dataset.ImageType = modality, ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.ReferencedImageSequence = Sequence([_reference(number) for number in range(3)])
    for keyword, value in {**_STUDY, **(_GEOMETRY if side else {})}.items():
        setattr(dataset, keyword, value)
    block = dataset.private_block(0x0019, "NOBODY HEADER 1.0", create=True)
    for element in range(_PRIVATE):
        block.add_new(element, "LO", f"value {element}")
    return with_pixels(dataset, np.full((1, side, side), number % 100, np.uint16)) if side else dataset


def _reference(number: int) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = _KINDS[0][1], uid("referenced", number)
    return item
