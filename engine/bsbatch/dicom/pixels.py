"""Reads the frames of a DICOM object as arrays of samples.

Uncompressed little-endian frames are read directly; all others go through pydicom and its decoders. Decoders in C or
C++ crash the process on some damaged data, so call them in a separate process (`needs_codec`). One rule extracts the
samples from their containers in every encoding (`bsbatch.dicom.samples`), so pydicom's own is turned off.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from bsbatch.dicom.modality_lut import TAGS, read_table
from bsbatch.dicom.part10 import load
from bsbatch.dicom.samples import is_plain, precision_of, view_of
from bsbatch.errors import ItemError
from bsbatch.reasons import EXPLANATIONS, Reason
from bsbatch.records import Header
from bsbatch.view_pixels import LookupTable, ViewPixels

_PLAIN = frozenset({ImplicitVRLittleEndian, ExplicitVRLittleEndian})
_SAFE = _PLAIN | {ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless}
_TYPES = {(8, False): "<u1", (8, True): "<i1", (16, False): "<u2", (16, True): "<i2"}
_COMMON = 1024, 256, 16, False
_COMMON_BYTES = 1024 * 256 * 2
_NO_DECODER = ("missing dependencies", "unable to decompress", "no pixel data decoders")


def needs_codec(header: Header) -> bool:
    """Return True if a frame needs a decoder in C or C++."""
    return header.transfer_syntax not in _SAFE


def frame_offset(header: Header, frame: int) -> int | None:
    """Byte offset of a frame (frames count from 1) if it is uncompressed 1024 x 256 uint16, else None.

    Compiled code reads such frames: little-endian, and the samples are the counts. A value above
    `bsbatch.dicom.samples.largest_plain` is padding or has unused bits set; `read_frames` must then read the frame.
    """
    form = header.rows, header.columns, header.bits_allocated, header.is_signed
    is_common = form == _COMMON and header.transfer_syntax in _PLAIN and is_plain(header)
    if not is_common or header.pixel_data is None:
        return None
    return header.pixel_data.offset + (frame - 1) * _COMMON_BYTES


def decode_frames(data: bytes, header: Header, frames: Sequence[int]) -> tuple[ViewPixels, ...]:
    """Decode frames from the bytes of a whole file, for a call in another process."""
    return read_frames(io.BytesIO(data), header, frames)


def read_frames(stream: BinaryIO, header: Header, frames: Sequence[int]) -> tuple[ViewPixels, ...]:
    """Read frames in the given order.

    Parameters
    ----------
    stream
        The object, at its first byte, seekable.
    header
        Its header, as returned by `bsbatch.dicom.headers.read.read_header`.
    frames
        Frame numbers, from 1.

    Raises
    ------
    ItemError
        ``unsupported_transfer_syntax``, ``truncated_pixel_data``, ``decode_failed`` or ``invalid_modality_lut``.
    """
    kind = _TYPES.get((header.bits_allocated, header.is_signed)) if header.transfer_syntax in _PLAIN else None
    if kind is None:
        return _decode(stream, header, frames)
    table = _read_table(stream, header) if header.has_modality_lut else None
    return tuple(view_of(stored, header, table) for stored in _read(stream, header, frames, np.dtype(kind)))


def _read_table(stream: BinaryIO, header: Header) -> LookupTable:
    stream.seek(0)
    with _errors_of_decoders():
        dataset = load(stream, header.transfer_syntax, TAGS)
    return read_table(dataset, header.is_signed, is_little_endian=True)


def _read(
    stream: BinaryIO, header: Header, frames: Sequence[int], kind: np.dtype[np.generic]
) -> list[NDArray[np.generic]]:
    """Read frames of native pixel data (PS3.5 section 8.2), contiguous and row-major; adjacent ones in one read."""
    first, last, size = min(frames), max(frames), header.rows * header.columns * kind.itemsize
    if last - first >= len(frames):
        return [stored for frame in frames for stored in _read(stream, header, [frame], kind)]
    offset = header.pixel_data.offset if header.pixel_data is not None else 0
    stream.seek(offset + (first - 1) * size)
    data = _read_up_to(stream, (last - first + 1) * size)
    if len(data) < (last - first + 1) * size:
        raise ItemError(Reason.TRUNCATED_PIXEL_DATA, EXPLANATIONS[Reason.TRUNCATED_PIXEL_DATA])
    read = np.frombuffer(data, kind).reshape(-1, header.rows, header.columns)
    return [read[frame - first] for frame in frames]


def _read_up_to(stream: BinaryIO, count: int) -> bytes:
    """Read until ``count`` bytes or the end: an unbuffered file, for example on a network, may return fewer."""
    data = stream.read(count)
    while 0 < len(data) < count and (more := stream.read(count - len(data))):
        data += more
    return data


def _decode(stream: BinaryIO, header: Header, frames: Sequence[int]) -> tuple[ViewPixels, ...]:
    """Decode frames with pydicom; the samples stay in their containers."""
    with _errors_of_decoders():
        dataset = load(io.BytesIO(stream.read()), header.transfer_syntax)
        if header.high_bit >= header.bits_stored:  # GDCM would remove the upper bits, of which the samples have some
            dataset.BitsStored = header.bits_allocated
        decoded = [
            np.asarray(pixel_array(dataset, index=frame - 1, raw=True, correct_unused_bits=False)) for frame in frames
        ]
    is_little_endian = header.transfer_syntax != ExplicitVRBigEndian
    table = read_table(dataset, header.is_signed, is_little_endian) if header.has_modality_lut else None
    return tuple(
        view_of(_checked(containers, header), header, table, partial(_precision, dataset, header, frame))
        for containers, frame in zip(decoded, frames, strict=True)
    )


def _checked(containers: NDArray[np.generic], header: Header) -> NDArray[np.generic]:
    if containers.shape != (header.rows, header.columns):
        message = f"decoded shape {containers.shape} is not {(header.rows, header.columns)}"
        raise ItemError(Reason.DECODE_FAILED, message)
    return containers


def _precision(dataset: Dataset, header: Header, frame: int) -> int | None:
    """Bits of a sample in the code stream of a frame; None if its encoding keeps whole containers."""
    if not needs_codec(header):
        return None
    return precision_of(get_frame(dataset.PixelData, frame - 1, number_of_frames=header.frames))


@contextmanager
def _errors_of_decoders() -> Iterator[None]:
    """Map the errors of pydicom and its decoders to reasons; they raise nearly everything on damaged data.

    Raises
    ------
    ItemError
        See `_explain`; one that is raised inside stays as it is.
    """
    try:
        yield
    except ItemError:
        raise
    except Exception as error:  # decoders raise nearly everything on damaged data
        if isinstance(error, OSError) and error.errno is not None:  # of the disk: pydicom's own have no number
            raise
        raise ItemError(*_explain(error)) from error


def _explain(error: Exception) -> tuple[Reason, str]:
    """Map an error of a decoder to a reason. Its text distinguishes the cases, but is not shown: it may hold a path."""
    text = str(error).lower()
    has_no_decoder = isinstance(error, RuntimeError) and any(words in text for words in _NO_DECODER)
    if has_no_decoder or isinstance(error, NotImplementedError):
        return Reason.UNSUPPORTED_TRANSFER_SYNTAX, EXPLANATIONS[Reason.UNSUPPORTED_TRANSFER_SYNTAX]
    if "less than" in text or "incomplete" in text or "truncat" in text:
        return Reason.TRUNCATED_PIXEL_DATA, EXPLANATIONS[Reason.TRUNCATED_PIXEL_DATA]
    return Reason.DECODE_FAILED, f"the pixel data cannot be decoded ({type(error).__name__})"
