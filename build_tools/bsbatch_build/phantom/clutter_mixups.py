"""Studies whose objects do not belong together, and copies of an object that look like another one."""

from __future__ import annotations

import io
import struct
from dataclasses import replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from bsbatch_build.phantom.clutter_nm import nm_file
from bsbatch_build.phantom.dialects import ANTERIOR, POSTERIOR, PhantomScan, separate_series, standard_codes
from bsbatch_build.phantom.encoding import Encoding, encode
from bsbatch_build.phantom.headers import code

_PREAMBLE = 132
_GROUP_LENGTH = 12
"""Bytes of the preamble with DICM, and of (0002,0000) File Meta Information Group Length (PS3.10 section 7.1)."""
_CONTAINER = 16
_OVERLAY = 0x6000
_TIMES = ("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime")


def scan_of_indium(scan: PhantomScan, _: Generator) -> list[bytes]:
    """A scan of In-111 whose camera was left on the energy window of Tc-99m."""
    dataset = standard_codes(scan)[0]
    drug = dataset.RadiopharmaceuticalInformationSequence[0]
    drug.Radiopharmaceutical = "In-111 pentetreotide"
    drug.RadionuclideCodeSequence = Items([code("C-145A4", "SRT", "^111^Indium")])
    return [nm_file(dataset)]


def views_of_two_patients(scan: PhantomScan, _: Generator) -> list[bytes]:
    """The anterior view of one patient and the posterior view of another, under one Study Instance UID."""
    first, second = separate_series(replace(scan, order=(ANTERIOR, POSTERIOR), variant=0))
    second.PatientID += "-2"
    second.PatientName = f"{second.PatientName}2"
    return [nm_file(first), nm_file(second)]


def scans_of_one_uid(scan: PhantomScan, rng: Generator) -> list[bytes]:
    """Two acquisitions that an anonymiser gave one SOP Instance UID."""
    repeat = replace(scan, views=(_draw_again(scan.views[0], rng), _draw_again(scan.views[1], rng)))
    return [nm_file(standard_codes(one)[0]) for one in (scan, repeat)]


def repeat_without_times(scan: PhantomScan, rng: Generator) -> list[bytes]:
    """Both views, and the anterior one once more, in one series whose times were removed."""
    again = replace(scan, views=(_draw_again(scan.views[ANTERIOR], rng), scan.views[POSTERIOR]))
    plain = [replace(one, order=(ANTERIOR, POSTERIOR), variant=0) for one in (scan, again)]
    datasets = [*separate_series(plain[0]), separate_series(plain[1])[ANTERIOR]]
    identity = scan.origin.identity
    for number, dataset in enumerate(datasets):
        dataset.SeriesInstanceUID = identity.uid("whole body")
        dataset.SOPInstanceUID = identity.uid("whole body", number, "NM")
        dataset.SeriesDescription = "Whole body"
        for keyword in _TIMES:
            setattr(dataset, keyword, "")
    return [nm_file(dataset) for dataset in datasets]


def zeros_behind_meta(scan: PhantomScan, _: Generator) -> list[bytes]:
    """A scan that was overwritten with zeros from the end of its meta information on."""
    data = nm_file(standard_codes(scan)[0])
    (length,) = struct.unpack("<I", data[_PREAMBLE + _GROUP_LENGTH - 4 : _PREAMBLE + _GROUP_LENGTH])
    start = _PREAMBLE + _GROUP_LENGTH + length
    return [data[:start] + bytes(len(data) - start)]


def processed_copy(scan: PhantomScan, _: bytes) -> bytes:
    """A DERIVED object of half the counts beside its original."""
    anterior, posterior = (view // 2 for view in scan.views)
    dataset = standard_codes(replace(scan, views=(anterior, posterior)))[0]
    dataset.ImageType = ["DERIVED", *dataset.ImageType[1:]]
    dataset.SeriesInstanceUID = scan.origin.identity.uid("processed")
    dataset.SOPInstanceUID = scan.origin.identity.uid("processed", 1, "NM")
    return nm_file(dataset)


def left_justified_copy(_: PhantomScan, original: bytes) -> bytes:
    """The same object with its samples in the upper bits, above rubbish (PS3.5 section 8.1.1)."""
    dataset, samples, bits = _open(original)
    free = _CONTAINER - bits
    rubbish = np.resize(np.arange(1 << free, dtype=np.uint16), samples.shape)
    return _store(dataset, samples << np.uint16(free) | rubbish, bits, _CONTAINER - 1)


def overlay_copy(_: PhantomScan, original: bytes) -> bytes:
    """The same object with a frame drawn into the bit above its samples (PS3.5 section 8.1.2, retired)."""
    dataset, samples, bits = _open(original)
    drawn = np.zeros_like(samples)
    drawn[..., 20:-20, 20:-20] = 1 << bits
    drawn[..., 24:-24, 24:-24] = 0
    for element, vr, value in (
        (0x0010, "US", dataset.Rows),
        (0x0011, "US", dataset.Columns),
        (0x0040, "CS", "G"),
        (0x0050, "SS", [1, 1]),
        (0x0100, "US", _CONTAINER),
        (0x0102, "US", bits),
    ):
        dataset.add_new((_OVERLAY, element), vr, value)
    return _store(dataset, samples | drawn, bits, bits - 1)


def _draw_again(view: NDArray[np.uint16], rng: Generator) -> NDArray[np.uint16]:
    return rng.poisson(view).astype(np.uint16)


def _open(original: bytes) -> tuple[Dataset, NDArray[np.uint16], int]:
    """Return a dataset, its samples in 16 bits, and the bits that they need."""
    dataset = dcmread(io.BytesIO(original))
    pixels = dataset.pixel_array
    return dataset, pixels.astype(np.uint16), int(pixels.max()).bit_length() + (pixels.dtype.kind == "i")


def _store(dataset: Dataset, samples: NDArray[np.uint16], bits: int, high_bit: int) -> bytes:
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = _CONTAINER, bits, high_bit
    del dataset.PixelData
    dataset.PixelData = samples.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    return encode(dataset, Encoding.EXPLICIT, dataset.file_meta.MediaStorageSOPClassUID)
