"""Samples in containers with bits to spare, and their objects in every encoding."""

from copy import deepcopy
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from tests.dicom.objects import dataset, encode

ENCODINGS = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEGLSLossless,
    JPEG2000Lossless,
]


@dataclass(frozen=True, slots=True)
class Layout:
    """The bits of a container."""

    allocated: int = 16
    stored: int = 12
    high_bit: int = 11
    is_signed: bool = False

    @property
    def unused(self) -> int:
        """Mask of the bits beside the sample."""
        return (1 << self.allocated) - 1 & ~(((1 << self.stored) - 1) << self.high_bit + 1 - self.stored)

    @property
    def extremes(self) -> tuple[int, int]:
        """Smallest and largest sample."""
        half = 1 << self.stored - 1
        return (-half, half - 1) if self.is_signed else (0, 2 * half - 1)


def pack(samples: NDArray[Any], layout: Layout, rubbish: NDArray[Any] | int = 0) -> NDArray[Any]:
    """Unsigned containers of samples, with rubbish in the unused bits."""
    mask = (1 << layout.stored) - 1
    words = (samples.astype(np.int64) & mask) << (layout.high_bit + 1 - layout.stored)
    return np.asarray(words | (np.asarray(rubbish, np.int64) & layout.unused)).astype(f"<u{layout.allocated // 8}")


def wrap(containers: NDArray[Any], layout: Layout, **attributes: Any) -> Dataset:
    """An object of containers."""
    bits = {"BitsStored": layout.stored, "HighBit": layout.high_bit, "PixelRepresentation": int(layout.is_signed)}
    return dataset(containers, **bits | attributes)


def encode_containers(made: Dataset, syntax: UID) -> bytes:
    """File whose code streams hold whole containers, the unused bits included."""
    whole, buffer = Dataset(deepcopy(dict(made))), BytesIO()  # without the encoding that a file had
    whole.file_meta = deepcopy(made.file_meta)
    whole.BitsStored, whole.HighBit = made.BitsAllocated, made.BitsAllocated - 1
    found = dcmread(BytesIO(encode(whole, syntax)))
    found.BitsStored, found.HighBit = made.BitsStored, made.HighBit
    found.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
