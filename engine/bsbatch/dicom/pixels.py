"""Two frames of counts out of one or two DICOM objects, through pydicom's decoders."""

from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.utils import pixel_array

from bsbatch.dicom.reasons import EXPLANATIONS, Reason
from bsbatch.errors import ItemError
from bsbatch.records import Header, ViewPixels

_NO_DECODER = ("missing dependencies", "unable to decompress", "no pixel data decoders")


def read_frame(stream: BinaryIO, header: Header, frame: int) -> ViewPixels:
    """Decode one frame.

    Parameters
    ----------
    stream
        The object, at its first byte, seekable.
    header
        What `bsbatch.dicom.header.read_header` made of it.
    frame
        1-based.

    Raises
    ------
    ItemError
        ``unsupported_transfer_syntax``, ``truncated_pixel_data`` or ``decode_failed``.
    """
    stored = _decode(stream, frame)
    if stored.shape != (header.rows, header.columns):
        raise ItemError(Reason.DECODE_FAILED, f"decoded shape {stored.shape} is not {(header.rows, header.columns)}")
    return ViewPixels(counts=_counts(stored, header), stored=stored)


def _decode(stream: BinaryIO, frame: int) -> NDArray[np.generic]:
    try:
        return np.asarray(pixel_array(stream, index=frame - 1, raw=True))
    except OSError:
        raise
    except Exception as error:  # decoders raise nearly everything on damaged data
        raise ItemError(*_explain(error)) from error


def _explain(error: Exception) -> tuple[Reason, str]:
    """Pydicom tells these cases apart by text alone; its own words may hold a path and stay out."""
    text = str(error).lower()
    if isinstance(error, RuntimeError | NotImplementedError) and any(words in text for words in _NO_DECODER):
        return Reason.UNSUPPORTED_TRANSFER_SYNTAX, EXPLANATIONS[Reason.UNSUPPORTED_TRANSFER_SYNTAX]
    if "less than" in text or "incomplete" in text or "truncat" in text:
        return Reason.TRUNCATED_PIXEL_DATA, EXPLANATIONS[Reason.TRUNCATED_PIXEL_DATA]
    return Reason.DECODE_FAILED, f"the pixel data cannot be decoded ({type(error).__name__})"


def _counts(stored: NDArray[np.generic], header: Header) -> NDArray[np.float32]:
    slope, intercept = header.rescale
    counts = stored.astype(np.float32)
    if (slope, intercept) != (1.0, 0.0):
        counts = counts * np.float32(slope) + np.float32(intercept)
    if header.photometric == "MONOCHROME1":
        counts = counts.max() + counts.min() - counts
    return counts
