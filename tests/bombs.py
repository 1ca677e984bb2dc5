"""Files that are small on the disk and claim, or are inflated to, what no scan needs; one function for each kind."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset
from pydicom.encaps import get_frame
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import (
    HTJ2K,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from tests.archives import Scan, dataset_of

Part = bytes | int
"""Bytes, or a number of zeros that take no room on the disk."""

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
_UNDEFINED = 0xFFFFFFFF
_PIXELS = 0x7FE00010
_ROWS, _COLUMNS = 5792, 1448
_LARGEST = {"Rows": _ROWS, "Columns": _COLUMNS, "NumberOfFrames": 2}
"""Two views of as many pixels as --max-pixels admits."""
_HUGE = 60_000


@dataclass(frozen=True, slots=True)
class Bomb:
    """A kind of bomb."""

    make: Callable[[int], Iterator[Part]]
    """Makes the object of a study of this number."""
    reasons: tuple[str | None, ...]
    """Reasons that its row may have; None for an object that is used, because it is sound."""


def write(parts: Iterator[Part], path: Path) -> None:
    """Write a file; zeros as a hole."""
    with path.open("wb") as stream:
        for part in parts:
            if isinstance(part, int):
                stream.seek(part, io.SEEK_CUR)
            else:
                stream.write(part)
        stream.truncate()


def _object(study: int, syntax: UID, **attributes: int) -> tuple[bytes, bytes, bytes]:
    """Meta information; data set before the pixels, up to Number of Frames and behind it, of one object."""
    dataset = dataset_of(Scan(study, "A" if attributes.get("NumberOfFrames") == 1 else "AP", rows=4, columns=2))
    del dataset.PixelData
    dataset.Rows, dataset.Columns = 1024, 256
    for name, value in attributes.items():
        setattr(dataset, name, value)
    dataset.file_meta.TransferSyntaxUID = syntax
    meta = DicomBytesIO()
    write_file_meta_info(meta, dataset.file_meta)
    is_implicit = syntax == ImplicitVRLittleEndian
    first, second = (_bytes_of(part, is_implicit) for part in _split(dataset))
    return bytes(128) + b"DICM" + meta.getvalue(), first, second


def _split(dataset: FileDataset) -> tuple[FileDataset, FileDataset]:
    return dataset[:0x00090000], dataset[0x00090000:]  # type: ignore[return-value]


def _bytes_of(dataset: FileDataset, is_implicit: bool) -> bytes:
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = is_implicit, True
    write_dataset(stream, dataset)
    return stream.getvalue()


def _head(tag: int, vr: str, length: int) -> bytes:
    return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr.encode(), 0, length)


def _item(value: bytes = b"") -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(value)) + value


_END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


@cache
def _deflated_zeros() -> bytes:
    """Zeros, 16 MiB, as deflated blocks that need no others."""
    return _deflate(bytes(16 * MIB))


def _deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH)


def _deflated(study: int, before: bytes, zeros: int, **attributes: int) -> Iterator[Part]:
    """A deflated object with ``before``, zeros and ``after`` behind its group 8."""
    meta, first, rest = _object(study, DeflatedExplicitVRLittleEndian, **attributes)
    data = [first + before, rest + _head(_PIXELS, "OW", zeros)] if not before else [first + before]
    yield meta + _deflate(b"".join(data))
    for _ in range(zeros // (16 * MIB)):
        yield _deflated_zeros()
    yield _deflate(bytes(zeros % (16 * MIB)) + (rest if before else b""))
    yield zlib.compressobj(wbits=-zlib.MAX_WBITS).flush()


def deflated_pixels(study: int) -> Iterator[Part]:
    """3 GiB of zeros as pixels, where 1 MiB is needed."""
    return _deflated(study, b"", 3 * GIB)


def deflated_header(study: int) -> Iterator[Part]:
    """A private value of 2 GiB, which nobody reads, before the image."""
    return _deflated(study, _head(0x00091010, "OB", 2 * GIB), 2 * GIB)


def deflated_sequence(study: int) -> Iterator[Part]:
    """A private sequence of 128 MiB of empty items."""
    meta, first, _ = _object(study, DeflatedExplicitVRLittleEndian)
    yield meta + _deflate(first + _head(0x00091010, "SQ", _UNDEFINED))
    items = _deflate(_item() * (MIB // 8))
    for _ in range(128):
        yield items
    yield zlib.compressobj(wbits=-zlib.MAX_WBITS).flush()


def deflated_largest(study: int) -> Iterator[Part]:
    """As many pixels of 64 bits as --max-pixels admits."""
    wide = {"BitsAllocated": 64, "BitsStored": 64, "HighBit": 63}
    return _deflated(study, b"", 8 * 2 * _ROWS * _COLUMNS, **{**_LARGEST, **wide})


def _encapsulated(study: int, syntax: UID, fragments: list[bytes], **attributes: int) -> Iterator[Part]:
    meta, first, rest = _object(study, syntax, **attributes)
    yield meta + first + rest + _head(_PIXELS, "OB", _UNDEFINED)
    for fragment in fragments:
        yield _item(fragment)
    yield _END


def _runs(size: int) -> bytes:
    """An RLE frame of two segments; each run of 128 zeros has 2 bytes."""
    half = b"\x81\x00" * ((size - 64) // 4)
    return struct.pack("<16I", 2, 64, 64 + len(half), *[0] * 13) + half * 2


def rle_runs(study: int) -> Iterator[Part]:
    """RLE of 20 MB that is decoded to 1.3 GB."""
    return _encapsulated(study, RLELossless, [b"", _runs(10 * MIB), _runs(10 * MIB)])


def rle_runs_within(study: int) -> Iterator[Part]:
    """As many runs as an image of the header's size may have."""
    return _encapsulated(study, RLELossless, [b"", _runs(1400 * KIB), _runs(1400 * KIB)])


def rle_largest(study: int) -> Iterator[Part]:
    """Runs of 20 MB under a header that admits them."""
    return _encapsulated(study, RLELossless, [b"", *[_runs(10 * MIB)] * 2], **_LARGEST)


@cache
def _codestream(syntax: UID, rows: int = 1024, columns: int = 256) -> bytes:
    dataset = dataset_of(Scan(1, "A"), np.tile(np.arange(columns, dtype=np.uint16), (1, rows, 1)))
    dataset.compress(syntax, generate_instance_uid=False)
    return get_frame(dataset.PixelData, 0)


def _patched(syntax: UID, start: bytes, offset: int, value: bytes) -> list[bytes]:
    """A Basic Offset Table and two code streams in which bytes behind a marker are replaced."""
    codestream = _codestream(syntax)
    position = codestream.index(start) + offset
    return [b"", *[codestream[:position] + value + codestream[position + len(value) :]] * 2]


def _j2k(study: int, syntax: UID, offset: int, value: bytes) -> Iterator[Part]:
    return _encapsulated(study, syntax, _patched(JPEG2000Lossless, b"\xff\x51", offset, value))


def j2k_size(study: int) -> Iterator[Part]:
    """JPEG 2000 that claims 60,000 x 60,000 pixels in one tile."""
    size = struct.pack(">8I", _HUGE, _HUGE, 0, 0, _HUGE, _HUGE, 0, 0)
    return _j2k(study, JPEG2000Lossless, 6, size)


def htj2k_size(study: int) -> Iterator[Part]:
    """The same as HTJ2K."""
    return _j2k(study, HTJ2K, 6, struct.pack(">8I", _HUGE, _HUGE, 0, 0, _HUGE, _HUGE, 0, 0))


def j2k_components(study: int) -> Iterator[Part]:
    """JPEG 2000 that claims 16,384 components."""
    return _j2k(study, JPEG2000Lossless, 38, struct.pack(">H", 16_384))


def j2k_tiles(study: int) -> Iterator[Part]:
    """JPEG 2000 of the right size in tiles of 2 x 2 pixels."""
    return _j2k(study, JPEG2000Lossless, 22, struct.pack(">2I", 2, 2))


def j2k_subsampled(study: int) -> Iterator[Part]:
    """JPEG 2000 whose grid begins at 2^31, so that its size is right by subtraction."""
    far = 1 << 31
    return _j2k(study, JPEG2000Lossless, 6, struct.pack(">8I", far + 256, far + 1024, far, far, 256, 1024, 0, 0))


def jp2_boxes(study: int) -> Iterator[Part]:
    """A JP2 file whose second box has no length, over which pydicom loops for ever."""
    return _encapsulated(study, JPEG2000Lossless, [b"", *[b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(64)] * 2])


def j2k_largest(study: int) -> Iterator[Part]:
    """JPEG 2000 of as many pixels as --max-pixels admits."""
    return _encapsulated(
        study, JPEG2000Lossless, [b"", *[_codestream(JPEG2000Lossless, _ROWS, _COLUMNS)] * 2], **_LARGEST
    )


def jpeg_ls_size(study: int) -> Iterator[Part]:
    """JPEG-LS that claims 65,535 x 65,535 pixels."""
    return _encapsulated(study, JPEGLSLossless, _patched(JPEGLSLossless, b"\xff\xf7", 5, b"\xff" * 4))


def jpeg_size(study: int) -> Iterator[Part]:
    """Lossless JPEG that claims 65,535 x 65,535 pixels, and ends."""
    frame = struct.pack(">HHHBHHBBBB", 0xFFD8, 0xFFC3, 11, 16, 65_535, 65_535, 1, 1, 0x11, 0)
    return _encapsulated(study, JPEGLosslessSV1, [b"", *[frame + bytes(4096)] * 2])


def claimed_by_both(study: int) -> Iterator[Part]:
    """60,000 x 60,000 pixels in code stream and header."""
    size = struct.pack(">8I", _HUGE, _HUGE, 0, 0, _HUGE, _HUGE, 0, 0)
    fragments = _patched(JPEG2000Lossless, b"\xff\x51", 6, size)
    return _encapsulated(study, JPEG2000Lossless, fragments, Rows=_HUGE, Columns=_HUGE // 2)


def fragments_without_number(study: int) -> Iterator[Part]:
    """A million empty fragments."""
    return _encapsulated(study, JPEG2000Lossless, [b""] * MIB)


def fragments_without_end(study: int) -> Iterator[Part]:
    """A fragment of 1 GiB."""
    meta, first, rest = _object(study, JPEG2000Lossless)
    yield meta + first + rest + _head(_PIXELS, "OB", _UNDEFINED) + _item()
    yield struct.pack("<HHI", 0xFFFE, 0xE000, GIB)
    yield GIB
    yield _END


def offsets_without_number(study: int) -> Iterator[Part]:
    """A Basic Offset Table of 2 MiB."""
    table = np.arange(MIB // 2, dtype="<u4").tobytes()
    return _encapsulated(study, JPEG2000Lossless, [table, *[_codestream(JPEG2000Lossless)] * 2])


def offsets_exchanged(study: int) -> Iterator[Part]:
    """A Basic Offset Table that lists the second frame first."""
    frame = _codestream(JPEG2000Lossless)
    return _encapsulated(study, JPEG2000Lossless, [struct.pack("<2I", len(frame) + 8, 0), frame, frame])


def header_value(study: int) -> Iterator[Part]:
    """A Patient's Name of 1 GiB."""
    meta, first, rest = _object(study, ImplicitVRLittleEndian)
    yield meta + first + struct.pack("<HHI", 0x0010, 0x0010, GIB)
    yield GIB
    yield rest + struct.pack("<HHI", 0x7FE0, 0x0010, MIB)
    yield MIB


def header_skipped(study: int) -> Iterator[Part]:
    """A private value of 1 GiB that nobody reads: the object is sound but for its pixels, which are zeros."""
    meta, first, rest = _object(study, ExplicitVRLittleEndian)
    yield meta + first + _head(0x00091010, "OB", GIB)
    yield GIB
    yield rest + _head(_PIXELS, "OW", MIB)
    yield MIB


def header_undefined(study: int) -> Iterator[Part]:
    """A private value of undefined length that ends after 1 GiB."""
    meta, first, rest = _object(study, ExplicitVRLittleEndian)
    yield meta + first + _head(0x00091010, "OB", _UNDEFINED)
    yield GIB
    yield _END + rest


def header_nested_value(study: int) -> Iterator[Part]:
    """A value of 1 GiB in a sequence of undefined length."""
    meta, first, rest = _object(study, ExplicitVRLittleEndian)
    yield meta + first + _head(0x00091010, "SQ", _UNDEFINED)
    yield struct.pack("<HHI", 0xFFFE, 0xE000, _UNDEFINED) + _head(0x00091011, "OB", GIB)
    yield GIB
    yield struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + _END + rest


def header_items(study: int) -> Iterator[Part]:
    """A private sequence of 2 million empty items."""
    meta, first, rest = _object(study, ExplicitVRLittleEndian)
    yield meta + first + _head(0x00091010, "SQ", _UNDEFINED) + _item() * (2 * MIB) + _END + rest


def header_detectors(study: int) -> Iterator[Part]:
    """30,000 detectors, in less than 256 KiB."""
    meta, first, _ = _object(study, ExplicitVRLittleEndian)
    sequence = _item() * 30_000
    yield meta + first + _head(0x00540022, "SQ", len(sequence)) + sequence + _head(_PIXELS, "OW", MIB)
    yield MIB


def frames_without_number(study: int) -> Iterator[Part]:
    """8 million frames of 2 x 1 pixels."""
    number = 8_000_000
    meta, first, rest = _object(study, ExplicitVRLittleEndian, NumberOfFrames=number, Rows=2, Columns=1)
    yield meta + first + rest + _head(_PIXELS, "OW", 4 * number)
    yield 4 * number


def native_largest(study: int) -> Iterator[Part]:
    """As many pixels as --max-pixels admits, not compressed."""
    meta, first, rest = _object(study, ExplicitVRLittleEndian, **_LARGEST)
    yield meta + first + rest + _head(_PIXELS, "OW", 4 * _ROWS * _COLUMNS)
    yield 4 * _ROWS * _COLUMNS


_DAMAGED, _LARGE = ("decode_failed",), ("too_large",)
BOMBS = {
    "deflated pixels": Bomb(deflated_pixels, ("all_zero",)),
    "deflated header": Bomb(deflated_header, _LARGE),
    "deflated sequence": Bomb(deflated_sequence, _DAMAGED),
    "deflated, largest": Bomb(deflated_largest, ("all_zero",)),
    "RLE runs": Bomb(rle_runs, _LARGE),
    "RLE runs within": Bomb(rle_runs_within, ("all_zero",)),
    "RLE, largest": Bomb(rle_largest, ("all_zero",)),
    "JPEG 2000 size": Bomb(j2k_size, _DAMAGED),
    "JPEG 2000 components": Bomb(j2k_components, _DAMAGED),
    "JPEG 2000 tiles": Bomb(j2k_tiles, _DAMAGED),
    "JPEG 2000 grid": Bomb(j2k_subsampled, _DAMAGED),
    "JPEG 2000, largest": Bomb(j2k_largest, (None,)),
    "JP2 boxes": Bomb(jp2_boxes, _DAMAGED),
    "HTJ2K size": Bomb(htj2k_size, _DAMAGED),
    "JPEG-LS size": Bomb(jpeg_ls_size, _DAMAGED),
    "JPEG size": Bomb(jpeg_size, _DAMAGED),
    "size, claimed by both": Bomb(claimed_by_both, _LARGE),
    "fragments without number": Bomb(fragments_without_number, _LARGE),
    "fragments without end": Bomb(fragments_without_end, _LARGE),
    "offsets without number": Bomb(offsets_without_number, _DAMAGED),
    "offsets exchanged": Bomb(offsets_exchanged, _DAMAGED),
    "header value": Bomb(header_value, _DAMAGED),
    "header value that is skipped": Bomb(header_skipped, ("all_zero",)),
    "header value without end": Bomb(header_undefined, _DAMAGED),
    "header value in a sequence": Bomb(header_nested_value, _DAMAGED),
    "header items": Bomb(header_items, _DAMAGED),
    "header detectors": Bomb(header_detectors, ("no_pixel_data", "decode_failed")),
    "frames without number": Bomb(frames_without_number, _LARGE),
    "native, largest": Bomb(native_largest, ("all_zero",)),
}
