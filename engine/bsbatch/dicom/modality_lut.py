"""Reads the Modality LUT of an object, PS3.3 section C.11.1."""

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from bsbatch.errors import ItemError
from bsbatch.reasons import EXPLANATIONS, Reason
from bsbatch.view_pixels import LookupTable

TAGS = 0x00280103, 0x00283000
"""(0028,0103) Pixel Representation, on which the VR of LUT Descriptor depends, and Modality LUT Sequence."""
_MOST_ENTRIES = 1 << 16
_SIGN = 1 << 15
_DEPTHS = range(8, 17)
_BYTE = 8


def read_table(dataset: Dataset, is_signed: bool, is_little_endian: bool) -> LookupTable:
    """Read the table in the first item of (0028,3000) Modality LUT Sequence.

    Parameters
    ----------
    dataset
        With the attributes of `TAGS`.
    is_signed
        True if Pixel Representation is 1.
    is_little_endian
        Order of the bytes in LUT Data that pydicom returns undecoded.

    Raises
    ------
    ItemError
        ``invalid_modality_lut``.
    """
    try:
        item = dataset["ModalityLUTSequence"].value[0]
        number, first, depth = (int(value) for value in item["LUTDescriptor"].value)
        words = _words(item["LUTData"].value, "<u2" if is_little_endian else ">u2")
    except Exception as error:  # pydicom raises nearly everything on damaged values
        raise _invalid() from error
    number = number % _MOST_ENTRIES or _MOST_ENTRIES
    if is_signed and first >= _SIGN:
        first -= 2 * _SIGN
    if depth == _BYTE and words.size < number:  # two entries in a word
        words = words.astype("<u2").view(np.uint8).astype(np.uint16)
    if depth not in _DEPTHS or words.size < number:
        raise _invalid()
    return LookupTable(first, np.array(words[:number], np.uint16))


def _words(value: object, kind: str) -> NDArray[np.uint16]:
    """LUT Data of VR US or OW as native words."""
    if isinstance(value, bytes):
        return np.frombuffer(value, kind).astype(np.uint16)
    return np.atleast_1d(np.asarray(value, np.int64)).astype(np.uint16)


def _invalid() -> ItemError:
    return ItemError(Reason.INVALID_MODALITY_LUT, EXPLANATIONS[Reason.INVALID_MODALITY_LUT])
