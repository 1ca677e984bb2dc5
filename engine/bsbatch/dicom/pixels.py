"""Reads the frames of a DICOM object as arrays of samples.

Uncompressed little-endian frames are read directly and RLE is decoded here; all others go through pydicom and its
decoders, which get no more bytes than the image can need. Decoders in C or C++ crash the process on some damaged data,
or allocate what a code stream claims, so call them in a separate process (`needs_codec`, `read_encoded`,
`decode_confined`). One rule extracts the samples from their containers in every encoding (`bsbatch.dicom.samples`), so
pydicom's own is turned off.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import get_frame
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    HTJ2K,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from bsbatch.dicom import rle
from bsbatch.dicom.codestream import Form, form_of
from bsbatch.dicom.fragments import read_fragments, read_up_to
from bsbatch.dicom.modality_lut import TAGS, read_table
from bsbatch.dicom.part10 import load, open_deflated
from bsbatch.dicom.samples import is_plain, view_of
from bsbatch.errors import ItemError
from bsbatch.host import limits
from bsbatch.host.confinement import confined
from bsbatch.reasons import EXPLANATIONS, Reason
from bsbatch.records import Header
from bsbatch.view_pixels import LookupTable, ViewPixels

_PLAIN = frozenset({ImplicitVRLittleEndian, ExplicitVRLittleEndian})
_SAFE = _PLAIN | {ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless}
_WITH_FORM = frozenset(
    (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes, HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL)
)
READABLE_SYNTAXES = tuple(sorted(_SAFE | _WITH_FORM))
"""Transfer syntaxes of which frames are read, if the decoders are installed."""
_TYPES = {(8, False): "<u1", (8, True): "<i1", (16, False): "<u2", (16, True): "<i2"}
_COMMON = 1024, 256, 16, False
_COMMON_BYTES = 1024 * 256 * 2
_PIXEL_DATA, _VR_BYTES = 0x7FE00010, 8
"""Tag of Pixel Data, and bytes from its VR to its value, PS3.5 section 7.1.2."""
_NO_DECODER = ("missing dependencies", "unable to decompress", "no pixel data decoders")


@dataclass(frozen=True, slots=True)
class Encoded:
    """Pixel data as in the file, no more of them than the image can need."""

    value: bytes
    """Value of (7FE0,0010) Pixel Data: all frames if native, else the Basic Offset Table and all fragments."""
    vr: str
    table: LookupTable | None
    """Modality LUT."""


def needs_codec(header: Header) -> bool:
    """Return True if a frame needs a decoder in C or C++, which may crash, hang or fill the memory."""
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
        ``unsupported_transfer_syntax``, ``truncated_pixel_data``, ``decode_failed``, ``too_large`` or
        ``invalid_modality_lut``.
    """
    kind = _TYPES.get((header.bits_allocated, header.is_signed)) if header.transfer_syntax in _PLAIN else None
    if kind is None:
        return decode(read_encoded(stream, header), header, frames)
    table = _read_table(stream, header)
    return tuple(view_of(stored, header, table) for stored in _read(stream, header, frames, np.dtype(kind)))


def read_encoded(stream: BinaryIO, header: Header) -> Encoded:
    """Read the pixel data of an object for `decode`, of which the parameters and errors are those of `read_frames`."""
    if header.pixel_data is None:
        raise ItemError(Reason.NO_PIXEL_DATA, EXPLANATIONS[Reason.NO_PIXEL_DATA])
    table, native = _read_table(stream, header), _native_bytes(header)
    if header.pixel_data.length < 0:
        return Encoded(read_fragments(stream, header.pixel_data.offset, limits.encapsulated_bytes(native)), "OB", table)
    begin, stop = header.pixel_data.offset - _VR_BYTES, header.pixel_data.offset + native
    with _errors_of_decoders():
        stream.seek(0)
        opened = open_deflated(stream, stop) if header.transfer_syntax == DeflatedExplicitVRLittleEndian else stream
        opened.seek(begin)
        data = read_up_to(opened, stop - begin)
    return Encoded(data[_VR_BYTES:], "OB" if data.startswith(b"OB") else "OW", table)


def decode_confined(encoded: Encoded, header: Header, frames: Sequence[int]) -> tuple[ViewPixels, ...]:
    """Decode frames as `decode` does, with the memory that such an image can need; for a call in another process."""
    try:
        with confined(limits.decoder_bytes(header.rows * header.columns * header.frames)):
            return decode(encoded, header, frames)
    except MemoryError as error:
        message = "the decoder needs more memory than such an image can need (docs/tables.md, Limits)"
        raise ItemError(Reason.DECODE_FAILED, message) from error


def decode(encoded: Encoded, header: Header, frames: Sequence[int]) -> tuple[ViewPixels, ...]:
    """Decode frames, all but RLE with pydicom; parameters and errors are those of `read_frames`."""
    with _errors_of_decoders():
        forms = [_read_form(encoded, header, frame) for frame in frames]
        decoded = (
            _decode_rle(encoded, header, frames)
            if header.transfer_syntax == RLELossless
            else (_decode(encoded, header, frames))
        )
    return tuple(
        view_of(_checked(containers, header), header, encoded.table, form.precision if form else None)
        for containers, form in zip(decoded, forms, strict=True)
    )


def _native_bytes(header: Header) -> int:
    """Length of native pixel data, PS3.5 section 8.1.1."""
    return (header.rows * header.columns * header.frames * header.samples_per_pixel * header.bits_allocated + 7) // 8


def _decode_rle(encoded: Encoded, header: Header, frames: Sequence[int]) -> list[NDArray[np.generic]]:
    shape = header.rows, header.columns
    return [rle.decode_frame(_frame(encoded, header, frame), shape, header.bits_allocated) for frame in frames]


def _decode(encoded: Encoded, header: Header, frames: Sequence[int]) -> list[NDArray[np.generic]]:
    dataset = _dataset_of(encoded, header)
    return [np.asarray(pixel_array(dataset, index=frame - 1, raw=True, correct_unused_bits=False)) for frame in frames]


def _frame(encoded: Encoded, header: Header, frame: int) -> bytes:
    """Fragments of a frame, joined."""
    return get_frame(encoded.value, frame - 1, number_of_frames=header.frames)


def _dataset_of(encoded: Encoded, header: Header) -> Dataset:
    """Return the attributes that pydicom's decoders use, PS3.3 section C.7.6.3."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(header.transfer_syntax)
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = header.rows, header.columns, header.frames
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = header.samples_per_pixel, header.photometric
    dataset.BitsAllocated, dataset.BitsStored = header.bits_allocated, header.bits_stored
    if header.high_bit >= header.bits_stored:  # GDCM would remove the upper bits, of which the samples have some
        dataset.BitsStored = header.bits_allocated
    dataset.HighBit, dataset.PixelRepresentation = header.high_bit, int(header.is_signed)
    dataset.add_new(_PIXEL_DATA, encoded.vr, encoded.value)
    return dataset


def _read_form(encoded: Encoded, header: Header, frame: int) -> Form | None:
    """Read what the code stream of a frame announces; None without one. It must be what the header announces."""
    if header.transfer_syntax not in _WITH_FORM:
        return None
    form = form_of(_frame(encoded, header, frame))
    if form is None:
        raise ItemError(Reason.DECODE_FAILED, "the code stream ends, or is damaged, before the size of its image")
    size = header.rows, header.columns, header.samples_per_pixel
    if size != (form.rows or header.rows, form.columns, form.components):
        raise ItemError(Reason.DECODE_FAILED, f"the code stream is of {form.rows} x {form.columns} pixels")
    return form


def _read_table(stream: BinaryIO, header: Header) -> LookupTable | None:
    if not header.has_modality_lut:
        return None
    stream.seek(0)
    with _errors_of_decoders():
        dataset = load(stream, header.transfer_syntax, TAGS)
    return read_table(dataset, header.is_signed, header.transfer_syntax != ExplicitVRBigEndian)


def _read(
    stream: BinaryIO, header: Header, frames: Sequence[int], kind: np.dtype[np.generic]
) -> list[NDArray[np.generic]]:
    """Read frames of native pixel data (PS3.5 section 8.2), contiguous and row-major; adjacent ones in one read."""
    first, last, size = min(frames), max(frames), header.rows * header.columns * kind.itemsize
    if last - first >= len(frames):
        return [stored for frame in frames for stored in _read(stream, header, [frame], kind)]
    offset = header.pixel_data.offset if header.pixel_data is not None else 0
    stream.seek(offset + (first - 1) * size)
    data = read_up_to(stream, (last - first + 1) * size)
    if len(data) < (last - first + 1) * size:
        raise ItemError(Reason.TRUNCATED_PIXEL_DATA, EXPLANATIONS[Reason.TRUNCATED_PIXEL_DATA])
    read = np.frombuffer(data, kind).reshape(-1, header.rows, header.columns)
    return [read[frame - first] for frame in frames]


def _checked(containers: NDArray[np.generic], header: Header) -> NDArray[np.generic]:
    if containers.shape != (header.rows, header.columns):
        message = f"decoded shape {containers.shape} is not {(header.rows, header.columns)}"
        raise ItemError(Reason.DECODE_FAILED, message)
    return containers


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
    except (ItemError, MemoryError):
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
