"""Finds numbers and sequences of a pydicom data set that hold parts of other elements; pydicom reads them anyway."""

import struct

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from bsbatch.dicom.encoding import SHORT_HEAD, UNDEFINED
from bsbatch.dicom.headers.validity import FOREIGN

_NUMBERS = "NumberOfFrames", "CountsAccumulated", "ScanLength", "PixelSpacing", "RescaleIntercept", "RescaleSlope"
_SHORTS = (
    *("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
)
_SHORT_BYTES = 2
_VECTORS = "EnergyWindowVector", "DetectorVector"
_SEQUENCES = (
    *("ModalityLUTSequence", "EnergyWindowInformationSequence", "DetectorInformationSequence", "ViewCodeSequence"),
    "RadiopharmaceuticalInformationSequence",
)
"""Keywords of IS and DS, of US with one value and with any number, and of SQ, which decide and are not written."""
_ITEMS = frozenset({0xE000FFFE, 0xE0DDFFFE, 0xFFFEE000, 0xFFFEE0DD})
"""Tags of an item and of the end of a sequence, read as one number in either byte order."""


def find_unreadable(dataset: Dataset) -> tuple[str, ...]:
    """Keywords of numbers and sequences that are longer than they can be, or of which nothing can be read.

    Parameters
    ----------
    dataset
        As it was read: pydicom forgets the bytes of a value with the first access to it.
    """
    texts = (keyword for keyword in _NUMBERS if FOREIGN.search(_undecoded(dataset, keyword, "IS DS").decode("latin-1")))
    shorts = (keyword for keyword in _SHORTS if len(_undecoded(dataset, keyword, "US SS")) not in {0, _SHORT_BYTES})
    vectors = (keyword for keyword in _VECTORS if len(_undecoded(dataset, keyword, "US")) % _SHORT_BYTES)
    sequences = (keyword for keyword in _SEQUENCES if not _has_items(dataset, keyword))
    return (*texts, *shorts, *vectors, *sequences)


def _undecoded(dataset: Dataset, keyword: str, vrs: str) -> bytes:
    """Value of an attribute as in the file, without padding of text; empty if it is absent or of another VR."""
    element = dataset.get_item(keyword)
    is_raw = isinstance(element, RawDataElement) and (element.VR or vrs) in vrs
    value: bytes = (element.value or b"") if is_raw else b""
    return value.rstrip(b" \0") if vrs == "IS DS" else value


def _has_items(dataset: Dataset, keyword: str) -> bool:
    """Return False if a sequence cannot be read, or if there is something else than items in it, PS3.5 section 7.5."""
    element, position = dataset.get_item(keyword), 0
    value = element.value if isinstance(element, RawDataElement) else None
    while isinstance(value, bytes) and position < len(value):
        form, head = "<II" if element.is_little_endian else ">II", value[position : position + SHORT_HEAD]
        tag, length = struct.unpack(form, head.ljust(SHORT_HEAD, b"\0"))
        if length == UNDEFINED or tag not in _ITEMS:
            return tag in _ITEMS
        position += SHORT_HEAD + length
    return element is None or _can_be_read(dataset, keyword)


def _can_be_read(dataset: Dataset, keyword: str) -> bool:
    try:
        return dataset[keyword].value is not None
    except Exception:  # pydicom raises nearly everything on damaged values
        return False
