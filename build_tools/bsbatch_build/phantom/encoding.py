"""Encode data sets as DICOM files, in the transfer syntaxes of real archives."""

from __future__ import annotations

import io
from enum import StrEnum

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

_IMPLEMENTATION = UID("2.25.245783290136274409836212735960147234901")
_VERSION = "BSBATCH_PHANTOM"
_BYTE, _SIXTEEN = 255, 16
_DTYPES = (np.uint16, np.int16)
"""By (0028,0103) Pixel Representation; phantoms are made on little endian machines."""


class Encoding(StrEnum):
    """Transfer syntax or sample size of an object."""

    EXPLICIT = "explicit"
    IMPLICIT = "implicit"
    BIG_ENDIAN = "big_endian"
    DEFLATED = "deflated"
    RLE = "rle"
    EIGHT_BIT = "eight_bit"


SHARES = (
    (Encoding.EXPLICIT, 0.82),
    (Encoding.IMPLICIT, 0.08),
    (Encoding.BIG_ENDIAN, 0.03),
    (Encoding.DEFLATED, 0.02),
    (Encoding.RLE, 0.02),
    (Encoding.EIGHT_BIT, 0.03),
)
"""Share of the examinations in each encoding."""

_SYNTAXES = {
    Encoding.EXPLICIT: ExplicitVRLittleEndian,
    Encoding.IMPLICIT: ImplicitVRLittleEndian,
    Encoding.BIG_ENDIAN: ExplicitVRBigEndian,
    Encoding.DEFLATED: DeflatedExplicitVRLittleEndian,
    Encoding.RLE: RLELossless,
    Encoding.EIGHT_BIT: ExplicitVRLittleEndian,
}


def encode(dataset: Dataset, encoding: Encoding, sop_class: str) -> bytes:
    """Encode a data set as a DICOM file (PS3.10). The data set is modified.

    ``sop_class`` goes into the file meta information; the data set may contradict it.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = _SYNTAXES[encoding]
    meta.ImplementationClassUID = _IMPLEMENTATION
    meta.ImplementationVersionName = _VERSION
    dataset.file_meta = meta
    _change_pixels(dataset, encoding)
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _change_pixels(dataset: Dataset, encoding: Encoding) -> None:
    if encoding is Encoding.EIGHT_BIT:
        _to_bytes(dataset)
    elif encoding is Encoding.BIG_ENDIAN and dataset.BitsAllocated == _SIXTEEN:
        dataset.PixelData = np.frombuffer(dataset.PixelData, np.uint16).byteswap().tobytes()
        dataset["PixelData"].VR = "OW"
    elif encoding is Encoding.RLE:
        pixels = np.frombuffer(dataset.PixelData, _DTYPES[dataset.PixelRepresentation])
        shape = (int(dataset.NumberOfFrames), dataset.Rows, dataset.Columns)
        dataset.compress(
            RLELossless,
            pixels.reshape(shape).squeeze(),
            encoding_plugin="pydicom",
            generate_instance_uid=False,
        )


def _to_bytes(dataset: Dataset) -> None:
    """Convert the pixels to 8 bits, saturated at 255 as in 8-bit archives."""
    pixels = np.minimum(np.frombuffer(dataset.PixelData, np.uint16), _BYTE).astype(np.uint8)
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.CountsAccumulated = str(int(pixels.sum(dtype=np.int64)))
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OB"
