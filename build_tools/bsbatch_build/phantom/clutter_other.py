"""Other clutter: other modalities, screen captures, documents and files that are not DICOM."""

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

from bsbatch_build.phantom.dialects import PhantomScan
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


def _object(scan: PhantomScan, modality: str, sop_class: str, number: int = 1) -> Dataset:
    instance = Instance(modality, number, "Bone scan", "", after=2400)
    return common(scan.origin, instance, modality, sop_class)


def _slice(rng: Generator) -> NDArray[np.uint16]:
    picture = np.zeros((_SLICE, _SLICE), np.float32)
    cv2.ellipse(picture, (_SLICE // 2, _SLICE // 2), (24, 16), 0, 0, 360, 1060.0, -1)
    noisy = picture + rng.normal(0.0, 20.0, picture.shape)
    return np.clip(noisy, 0, 4095).astype(np.uint16)[np.newaxis]


def ct_slices(scan: PhantomScan, rng: Generator) -> list[bytes]:
    """CT slices of a SPECT/CT."""
    files = []
    for number in range(1, _SLICES + 1):
        dataset = _object(scan, "CT", CTImageStorage, number)
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        add_pixels(dataset, _slice(rng), 7.8)
        del dataset.NumberOfFrames
        dataset.ImagePositionPatient = ["-250", "-250", str(5 * number)]
        dataset.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
        dataset.FrameOfReferenceUID = scan.origin.identity.uid("ct frame")
        dataset.RescaleIntercept, dataset.RescaleSlope = "-1024", "1"
        dataset.SliceThickness = "5"
        dataset.KVP = "120"
        files.append(encode(dataset, Encoding.EXPLICIT, CTImageStorage))
    return files


def ct_cut_short(scan: PhantomScan, rng: Generator) -> list[bytes]:
    """A CT slice whose file ends within the pixel data."""
    data = ct_slices(scan, rng)[0]
    return [data[: len(data) - _SLICE * _SLICE]]


def pet(scan: PhantomScan, rng: Generator) -> list[bytes]:
    """One PET slice."""
    dataset = _object(scan, "PT", PositronEmissionTomographyImageStorage)
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    add_pixels(dataset, _slice(rng), 7.8)
    del dataset.NumberOfFrames
    dataset.Units, dataset.RescaleIntercept, dataset.RescaleSlope = "BQML", "0", "1"
    return [encode(dataset, Encoding.EXPLICIT, PositronEmissionTomographyImageStorage)]


def structure_set(scan: PhantomScan, _: Generator) -> list[bytes]:
    """An RT Structure Set without structures."""
    dataset = _object(scan, "RTSTRUCT", RTStructureSetStorage)
    dataset.StructureSetLabel = "SYNTHETIC"
    dataset.StructureSetDate = dataset.StructureSetTime = ""
    dataset.StructureSetROISequence = Items([])
    return [encode(dataset, Encoding.EXPLICIT, RTStructureSetStorage)]


def report(scan: PhantomScan, _: Generator) -> list[bytes]:
    """A Basic Text SR of one sentence."""
    dataset = _object(scan, "SR", BasicTextSRStorage)
    dataset.ValueType = "CONTAINER"
    dataset.ContinuityOfContent = "SEPARATE"
    dataset.ConceptNameCodeSequence = Items([code("18748-4", "LN", "Diagnostic imaging report")])
    text = Dataset()
    text.RelationshipType, text.ValueType, text.TextValue = "CONTAINS", "TEXT", NOTE
    text.ConceptNameCodeSequence = Items([code("121070", "DCM", "Findings")])
    dataset.ContentSequence = Items([text])
    dataset.CompletionFlag, dataset.VerificationFlag = "COMPLETE", "UNVERIFIED"
    return [encode(dataset, Encoding.EXPLICIT, BasicTextSRStorage)]


def document(scan: PhantomScan, _: Generator) -> list[bytes]:
    """An encapsulated PDF without pages."""
    dataset = _object(scan, "DOC", EncapsulatedPDFStorage)
    dataset.BurnedInAnnotation, dataset.DocumentTitle = "NO", "Synthetic phantom"
    dataset.ConversionType, dataset.MIMETypeOfEncapsulatedDocument = "WSD", "application/pdf"
    dataset.EncapsulatedDocument = _PDF + b" " * (len(_PDF) % 2)
    return [encode(dataset, Encoding.EXPLICIT, EncapsulatedPDFStorage)]


def _screen(scan: PhantomScan) -> NDArray[np.uint8]:
    """Draw both views side by side in inverse grey, (rows, columns)."""
    halves = []
    for view in scan.views:
        small = cv2.resize(view.astype(np.float32), _SCREEN, interpolation=cv2.INTER_AREA)
        window = max(float(small.max()) * 0.3, 1.0)
        halves.append(255 - np.clip(small / window * 255, 0, 255).astype(np.uint8))
    return np.hstack(halves)


def grey_capture(scan: PhantomScan, _: Generator) -> list[bytes]:
    """A workstation's screen as 8-bit grey; its modality is NM, as in many such captures."""
    dataset = _object(scan, "NM", SecondaryCaptureImageStorage)
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.ConversionType = "WSD"
    add_pixels(dataset, _screen(scan)[np.newaxis], 1.0)
    del dataset.NumberOfFrames, dataset.PixelSpacing
    return [encode(dataset, Encoding.EXPLICIT, SecondaryCaptureImageStorage)]


def colour_capture(scan: PhantomScan, _: Generator) -> list[bytes]:
    """A workstation's screen in colour, with a burned-in caption."""
    screen = np.repeat(_screen(scan)[:, :, np.newaxis], 3, axis=2)
    cv2.putText(screen, "SYNTHETIC", (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (200, 0, 0))
    dataset = _object(scan, "OT", SecondaryCaptureImageStorage)
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.ConversionType = "WSD"
    add_pixels(dataset, screen[:1], 1.0)
    del dataset.NumberOfFrames, dataset.PixelSpacing
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.PhotometricInterpretation = "RGB"
    dataset.Rows, dataset.Columns = screen.shape[:2]
    dataset.PixelData = screen.tobytes()
    return [encode(dataset, Encoding.EXPLICIT, SecondaryCaptureImageStorage)]


def directory(scan: PhantomScan, _: Generator) -> list[bytes]:
    """A DICOMDIR without records."""
    dataset = Dataset()
    dataset.SOPInstanceUID = scan.origin.identity.uid("dicomdir")
    dataset.FileSetID = "PHANTOM"
    dataset.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    dataset.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = 0
    dataset.FileSetConsistencyFlag = 0
    dataset.DirectoryRecordSequence = Items([])
    return [encode(dataset, Encoding.EXPLICIT, MediaStorageDirectoryStorage)]


def garbage(_: PhantomScan, rng: Generator) -> list[bytes]:
    """The DICOM preamble and prefix, followed by noise."""
    return [bytes(128) + b"DICM" + rng.bytes(3000)]


def text(_: PhantomScan, __: Generator) -> list[bytes]:
    """A text note."""
    return [(NOTE + "\n").encode()]


def picture(scan: PhantomScan, _: Generator) -> list[bytes]:
    """A PNG of the scan."""
    ok, data = cv2.imencode(".png", _screen(scan))
    if not ok:
        raise RuntimeError("OpenCV could not write a PNG.")
    return [data.tobytes()]


def nothing(_: PhantomScan, __: Generator) -> list[bytes]:
    """An empty file."""
    return [b""]
