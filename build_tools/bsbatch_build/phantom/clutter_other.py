"""What else an archive holds: other modalities, captures, documents, things that are no DICOM."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    BasicTextSRStorage,
    CTImageStorage,
    EncapsulatedPDFStorage,
    MediaStorageDirectoryStorage,
    PositronEmissionTomographyImageStorage,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
)

from bsbatch_build.phantom.dialects import Examination
from bsbatch_build.phantom.encoding import Encoding, encode
from bsbatch_build.phantom.headers import NOTE, Instance, add_pixels, code, common

_SLICE = 64
_SLICES = 3
_SCREEN = (128, 256)
"""Columns and rows of one view in a screen capture."""
_PDF = (
    b"%PDF-1.1\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
    b"2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
)


def _object(examination: Examination, modality: str, sop_class: str, number: int = 1) -> Dataset:
    instance = Instance(modality, number, "Bone scan", "", after=2400)
    return common(examination.origin, instance, modality, sop_class)


def _slice(rng: Generator) -> NDArray[np.uint16]:
    picture = np.zeros((_SLICE, _SLICE), np.float32)
    cv2.ellipse(picture, (_SLICE // 2, _SLICE // 2), (24, 16), 0, 0, 360, 1060.0, -1)
    noisy = picture + rng.normal(0.0, 20.0, picture.shape)
    return np.clip(noisy, 0, 4095).astype(np.uint16)[np.newaxis]


def ct_slices(examination: Examination, rng: Generator) -> list[bytes]:
    """Slices of the CT of a SPECT/CT."""
    files = []
    for number in range(1, _SLICES + 1):
        dataset = _object(examination, "CT", CTImageStorage, number)
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        add_pixels(dataset, _slice(rng), 7.8)
        del dataset.NumberOfFrames
        dataset.ImagePositionPatient = ["-250", "-250", str(5 * number)]
        dataset.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
        dataset.FrameOfReferenceUID = examination.origin.identity.uid("ct frame")
        dataset.RescaleIntercept, dataset.RescaleSlope = "-1024", "1"
        dataset.SliceThickness = "5"
        dataset.KVP = "120"
        files.append(encode(dataset, Encoding.EXPLICIT, CTImageStorage))
    return files


def truncated_ct(examination: Examination, rng: Generator) -> list[bytes]:
    """A CT slice that ends within its pixels."""
    data = ct_slices(examination, rng)[0]
    return [data[: len(data) - _SLICE * _SLICE]]


def pet(examination: Examination, rng: Generator) -> list[bytes]:
    """One PET slice."""
    dataset = _object(examination, "PT", PositronEmissionTomographyImageStorage)
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    add_pixels(dataset, _slice(rng), 7.8)
    del dataset.NumberOfFrames
    dataset.Units, dataset.RescaleIntercept, dataset.RescaleSlope = "BQML", "0", "1"
    return [encode(dataset, Encoding.EXPLICIT, PositronEmissionTomographyImageStorage)]


def structure_set(examination: Examination, _: Generator) -> list[bytes]:
    """An RT Structure Set without a structure."""
    dataset = _object(examination, "RTSTRUCT", RTStructureSetStorage)
    dataset.StructureSetLabel = "SYNTHETIC"
    dataset.StructureSetDate = dataset.StructureSetTime = ""
    dataset.StructureSetROISequence = Items([])
    return [encode(dataset, Encoding.EXPLICIT, RTStructureSetStorage)]


def report(examination: Examination, _: Generator) -> list[bytes]:
    """A Basic Text SR of one sentence."""
    dataset = _object(examination, "SR", BasicTextSRStorage)
    dataset.ValueType = "CONTAINER"
    dataset.ContinuityOfContent = "SEPARATE"
    dataset.ConceptNameCodeSequence = Items([code("18748-4", "LN", "Diagnostic imaging report")])
    text = Dataset()
    text.RelationshipType, text.ValueType, text.TextValue = "CONTAINS", "TEXT", NOTE
    text.ConceptNameCodeSequence = Items([code("121070", "DCM", "Findings")])
    dataset.ContentSequence = Items([text])
    dataset.CompletionFlag, dataset.VerificationFlag = "COMPLETE", "UNVERIFIED"
    return [encode(dataset, Encoding.EXPLICIT, BasicTextSRStorage)]


def document(examination: Examination, _: Generator) -> list[bytes]:
    """An encapsulated PDF without pages."""
    dataset = _object(examination, "DOC", EncapsulatedPDFStorage)
    dataset.BurnedInAnnotation, dataset.DocumentTitle = "NO", "Synthetic phantom"
    dataset.ConversionType, dataset.MIMETypeOfEncapsulatedDocument = "WSD", "application/pdf"
    dataset.EncapsulatedDocument = _PDF + b" " * (len(_PDF) % 2)
    return [encode(dataset, Encoding.EXPLICIT, EncapsulatedPDFStorage)]


def _screen(examination: Examination) -> NDArray[np.uint8]:
    """Both views side by side in inverse grey, (rows, columns)."""
    halves = []
    for view in examination.views:
        small = cv2.resize(view.astype(np.float32), _SCREEN, interpolation=cv2.INTER_AREA)
        window = max(float(small.max()) * 0.3, 1.0)
        halves.append(255 - np.clip(small / window * 255, 0, 255).astype(np.uint8))
    return np.hstack(halves)


def grey_capture(examination: Examination, _: Generator) -> list[bytes]:
    """A workstation's screen as 8-bit grey, modality NM as such captures often say."""
    dataset = _object(examination, "NM", SecondaryCaptureImageStorage)
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.ConversionType = "WSD"
    add_pixels(dataset, _screen(examination)[np.newaxis], 1.0)
    del dataset.NumberOfFrames, dataset.PixelSpacing
    return [encode(dataset, Encoding.EXPLICIT, SecondaryCaptureImageStorage)]


def colour_capture(examination: Examination, _: Generator) -> list[bytes]:
    """The same in colour, with a caption burned in."""
    screen = np.repeat(_screen(examination)[:, :, np.newaxis], 3, axis=2)
    cv2.putText(screen, "SYNTHETIC", (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (200, 0, 0))
    dataset = _object(examination, "OT", SecondaryCaptureImageStorage)
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.ConversionType = "WSD"
    add_pixels(dataset, screen[:1], 1.0)
    del dataset.NumberOfFrames, dataset.PixelSpacing
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.PhotometricInterpretation = "RGB"
    dataset.Rows, dataset.Columns = screen.shape[:2]
    dataset.PixelData = screen.tobytes()
    return [encode(dataset, Encoding.EXPLICIT, SecondaryCaptureImageStorage)]


def directory(examination: Examination, _: Generator) -> list[bytes]:
    """A DICOMDIR without records."""
    dataset = Dataset()
    dataset.SOPInstanceUID = examination.origin.identity.uid("dicomdir")
    dataset.FileSetID = "PHANTOM"
    dataset.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    dataset.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = 0
    dataset.FileSetConsistencyFlag = 0
    dataset.DirectoryRecordSequence = Items([])
    return [encode(dataset, Encoding.EXPLICIT, MediaStorageDirectoryStorage)]


def garbage(_: Examination, rng: Generator) -> list[bytes]:
    """The prefix of DICOM, then noise."""
    return [bytes(128) + b"DICM" + rng.bytes(3000)]


def text(_: Examination, __: Generator) -> list[bytes]:
    """A note that somebody left."""
    return [(NOTE + "\n").encode()]


def picture(examination: Examination, _: Generator) -> list[bytes]:
    """A PNG of the scan."""
    ok, data = cv2.imencode(".png", _screen(examination))
    if not ok:
        raise RuntimeError("OpenCV could not write a PNG.")
    return [data.tobytes()]


def nothing(_: Examination, __: Generator) -> list[bytes]:
    """An empty file."""
    return [b""]
