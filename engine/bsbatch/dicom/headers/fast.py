"""A header without pydicom: little-endian datasets that follow the standard, at a tenth of the time.

Gives the record of `bsbatch.dicom.headers.with_pydicom`, or None where a byte leaves a doubt; tests compare the two.
"""

import re
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any, BinaryIO, NamedTuple

from pydicom.uid import ImplicitVRLittleEndian

from bsbatch.dicom.headers import attributes, values
from bsbatch.dicom.headers.elements import UNDEFINED, Found, UnclearError, Walker, Wanted, are_fragments_whole, check
from bsbatch.dicom.headers.templates import DATASET, TemplateCache, Walk
from bsbatch.records import Detector, Header, PixelData

HEAD = 8192
"""Bytes that are read at first; the headers of most objects are shorter."""
_SIZES = (HEAD, 1 << 16, 1 << 18)

_OF_META, _BEFORE_DECISION = range(0x00020000, 0x00030000), range(0x00080000, 0x00080061)
_OF_OUTLINE = range(_BEFORE_DECISION.stop, attributes.LAST_OF_OUTLINE + 1)
_BEFORE_PIXELS = range(_BEFORE_DECISION.stop, 0x7FE00008)
_REMEMBERED = 256
"""Sequences whose meaning is kept: a camera writes the same detectors and windows into every header."""
_FLOAT_PIXELS, _PIXELS = {0x7FE00008, 0x7FE00009}, 0x7FE00010

_COMPRESSED = re.compile(r"1\.2\.840\.10008\.1\.2\.(1|4\.\d+|5)")
"""Explicit VR little endian and what wraps it, PS3.5 sections A.2 and A.4."""


def parse(stream: BinaryIO | None, head: bytes, size: int, is_wanted: Callable[[str], bool]) -> Header | None:
    """Read a header as `bsbatch.dicom.headers.read.read_header` asks for it; None leaves it to pydicom.

    Parameters
    ----------
    stream
        The object, behind ``head``; None where it is not open, and then no more of it is read.
    head
        Its first bytes, `HEAD` or all of them.
    size, is_wanted
        As there.
    """
    data = head
    for enough in (*_SIZES[1:], None):
        try:
            return _header(_Source(stream, data, size), is_wanted)
        except struct.error:  # the header is longer
            if enough is None or stream is None or len(data) >= size:
                return None
            data += stream.read(enough - len(data))
        except (UnclearError, UnicodeDecodeError, RecursionError):
            return None
    return None


class _Source(NamedTuple):
    stream: BinaryIO | None
    data: bytes
    size: int


def _header(source: _Source, is_wanted: Callable[[str], bool]) -> Header:
    walked = _TEMPLATES.recall(source.data)
    if walked is None or walked.is_wanted != is_wanted(values.text(walked.found, "Modality") or ""):
        walked = _walk(source, is_wanted)
        _TEMPLATES.remember(source.data, walked, walked.stop == source.size < HEAD)
    found, codec = walked.found, values.codec(walked.found)
    sop_uid = values.unique_text(found, "SOPInstanceUID") or values.unique_text(found, "MediaStorageSOPInstanceUID")
    acquisition_time = values.unique_text(found, "AcquisitionTime")
    if not walked.is_wanted:
        return Header._make((sop_uid, acquisition_time, *_declined(tuple(map(found.get, _OF_SERIES)), codec)))
    own = (
        sop_uid,
        acquisition_time,
        *(values.unique_text(found, keyword) for keyword in _SERIES),
        values.integer(found, "CountsAccumulated"),
        _locate(source, walked.stop, walked.is_implicit),
    )
    return Header._make(own + _alike(tuple(map(found.get, _OF_CAMERA)), codec, walked.is_implicit))


_TEMPLATES = TemplateCache()


def _walk(source: _Source, is_wanted: Callable[[str], bool]) -> Walk:
    data, size = source.data, source.size
    found, start = Walker(data, is_implicit=False).dataset(DATASET, size, _OF_META, attributes.META)
    walker = Walker(data, is_implicit=_syntax(found) == ImplicitVRLittleEndian)
    check(walker.is_implicit != _starts_explicit(data, start))
    first, stop = walker.dataset(start, size, _BEFORE_DECISION, attributes.OUTLINE)
    is_more_wanted = is_wanted(values.text(first, "Modality") or "")
    tags, wanted = (_BEFORE_PIXELS, attributes.FULL) if is_more_wanted else (_OF_OUTLINE, attributes.OUTLINE)
    rest, stop = walker.dataset(stop, size, tags, wanted)
    check(stop <= size)
    return Walk(found | first | rest, start, stop, walker.is_implicit, is_more_wanted)


def _syntax(found: Found) -> str:
    group_length = found.get("FileMetaInformationGroupLength", b"\0\0\0\0")
    syntax = values.text(found, "TransferSyntaxUID") or ""
    check(len(group_length) == 4)  # noqa: PLR2004 - UL
    check(syntax == ImplicitVRLittleEndian or _COMPRESSED.fullmatch(syntax) is not None)
    return syntax


def _starts_explicit(data: bytes, start: int) -> bool:
    """Whether two capital letters stand where the first element of explicit VR has its VR."""
    vr = data[start + 4 : start + 6]
    check(len(vr) == 2)  # noqa: PLR2004
    return vr.isalpha() and vr.isupper()


_UNREAD: dict[str, Any] = {
    "samples_per_pixel": 1,
    "photometric": "MONOCHROME2",
    "bits_allocated": 16,
    "bits_stored": 16,
    "is_signed": False,
    "pixel_spacing": None,
    "rescale": (1.0, 0.0),
    "is_lossy": False,
    "scan_length": None,
    "detector_vector": (),
    "energy_window_vector": (),
    "energy_windows": (),
    "detectors": (),
    "view_texts": (),
    "private_labels": (),
    "view_position": (),
    "descriptions": (),
}
"""What is taken for granted where nothing is said."""

_OWN = {"FileMetaInformationGroupLength", "MediaStorageSOPInstanceUID", "SOPInstanceUID", "AcquisitionTime"}
_SERIES = "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "AcquisitionDate"
_OF_SERIES = tuple(sorted({attribute.keyword for attribute in (attributes.META | attributes.OUTLINE).values()} - _OWN))
"""What the objects of a series say alike."""
_OF_CAMERA = tuple(
    sorted({attribute.keyword for attribute in attributes.EVERY.values()} - _OWN - {*_SERIES, "CountsAccumulated"})
)
"""What the objects of a camera say alike."""


@lru_cache(_REMEMBERED)
def _declined(raw: tuple[bytes | None, ...], codec: str) -> tuple[Any, ...]:
    """All fields but the first two of the header of an object whose modality is not wanted."""
    found = _found(_OF_SERIES, raw)
    series = (values.text(found, keyword) for keyword in _SERIES)
    return *series, None, None, *_in_order(_kind(found, codec) | _UNREAD)


@lru_cache(_REMEMBERED)
def _alike(raw: tuple[bytes | None, ...], codec: str, is_implicit: bool) -> tuple[Any, ...]:
    """The fields that are no object's own, of the header of one whose modality is wanted."""
    found = _found(_OF_CAMERA, raw)
    return _in_order(_kind(found, codec) | _image(found) | _acquisition(found, codec, is_implicit))


def _in_order(fields: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(fields[name] for name in Header._fields[-len(fields) :])


def _found(keywords: tuple[str, ...], raw: tuple[bytes | None, ...]) -> Found:
    return {keyword: value for keyword, value in zip(keywords, raw, strict=True) if value is not None}


def _kind(found: Found, codec: str) -> dict[str, Any]:
    return {
        "sop_class": values.text(found, "SOPClassUID") or values.text(found, "MediaStorageSOPClassUID"),
        "modality": values.text(found, "Modality") or "",
        "image_type": tuple(map(str.upper, values.texts(found, "ImageType"))),
        "manufacturer": values.free_text(found, "Manufacturer", codec),
        "model_name": values.free_text(found, "ManufacturerModelName", codec),
        "transfer_syntax": values.text(found, "TransferSyntaxUID"),
        "rows": values.short(found, "Rows") or 0,
        "columns": values.short(found, "Columns") or 0,
        "frames": values.integer(found, "NumberOfFrames") or 1,
    }


def _image(found: Found) -> dict[str, Any]:
    spacing = values.decimals(found, "PixelSpacing")
    slope, intercept = values.decimal(found, "RescaleSlope"), values.decimal(found, "RescaleIntercept")
    bits_allocated = values.short(found, "BitsAllocated")
    return {
        "samples_per_pixel": values.short(found, "SamplesPerPixel") or 1,
        "photometric": (values.text(found, "PhotometricInterpretation") or "MONOCHROME2").upper(),
        "bits_allocated": bits_allocated or 16,
        "bits_stored": values.short(found, "BitsStored") or bits_allocated or 16,
        "is_signed": values.short(found, "PixelRepresentation") == 1,
        "pixel_spacing": (spacing[0], spacing[1]) if len(spacing) == 2 else None,  # noqa: PLR2004 - rows, columns
        "rescale": (slope or 1.0, intercept or 0.0),
        "is_lossy": values.text(found, "LossyImageCompression") == "01",
    }


def _acquisition(found: Found, codec: str, is_implicit: bool) -> dict[str, Any]:
    length = values.whole(found, "ScanLength")
    detectors = found.get("DetectorInformationSequence", b"")
    return {
        "scan_length": None if length is None else float(length),
        "detector_vector": values.shorts(found, "DetectorVector"),
        "energy_window_vector": values.shorts(found, "EnergyWindowVector"),
        "energy_windows": _energy_windows(found.get("EnergyWindowInformationSequence", b""), is_implicit),
        "detectors": _detectors(detectors, codec, is_implicit),
        "view_texts": _view_texts(_items(found, "ViewCodeSequence", is_implicit, attributes.CODE), codec),
        "private_labels": _private_labels(found, codec),
        "view_position": values.texts(found, "ViewPosition"),
        "descriptions": (
            values.free_texts(found, "ImageID", codec) + values.free_texts(found, "SeriesDescription", codec)
        ),
    }


@lru_cache(_REMEMBERED)
def _energy_windows(value: bytes, is_implicit: bool) -> tuple[tuple[tuple[float, float], ...], ...]:
    items = Walker(value, is_implicit).items(attributes.WINDOW)
    return tuple(_energy_ranges(item, is_implicit) for item in items)


def _energy_ranges(item: Found, is_implicit: bool) -> tuple[tuple[float, float], ...]:
    parts = _items(item, "EnergyWindowRangeSequence", is_implicit, attributes.ENERGY_RANGE)
    lowest = (values.decimal(part, "EnergyWindowLowerLimit") for part in parts)
    highest = (values.decimal(part, "EnergyWindowUpperLimit") for part in parts)
    limits = zip(lowest, highest, strict=True)
    return tuple((lower, upper) for lower, upper in limits if lower is not None and upper is not None)


@lru_cache(_REMEMBERED)
def _detectors(value: bytes, codec: str, is_implicit: bool) -> tuple[Detector, ...]:
    items = Walker(value, is_implicit).items(attributes.DETECTOR)
    return tuple(_detector(item, codec, is_implicit) for item in items)


def _detector(item: Found, codec: str, is_implicit: bool) -> Detector:
    codes = _items(item, "ViewCodeSequence", is_implicit, attributes.CODE)
    schemes = (values.free_text(code, "CodingSchemeDesignator", codec) or "" for code in codes)
    numbers = (values.free_text(code, "CodeValue", codec) or "" for code in codes)
    return Detector(
        start_angle=values.decimal(item, "StartAngle"),
        view_codes=tuple(zip(schemes, numbers, strict=True)),
        view_texts=_view_texts(codes, codec),
    )


def _view_texts(codes: list[Found], codec: str) -> tuple[str, ...]:
    keywords = ("CodeMeaning", "CodeValue")
    return tuple(text for code in codes for keyword in keywords if (text := values.free_text(code, keyword, codec)))


def _items(found: Found, keyword: str, is_implicit: bool, wanted: Wanted) -> list[Found]:
    return Walker(found[keyword], is_implicit).items(wanted) if keyword in found else []


def _private_labels(found: Found, codec: str) -> tuple[tuple[str, ...], ...]:
    if values.free_text(found, attributes.GENIE_CREATOR.keyword, codec) != "GEMS_GENIE_1":
        return ()
    labels = (values.free_texts(found, label.keyword, codec) for label in attributes.GENIE_LABELS)
    return tuple(label for label in labels if label)


def _locate(source: _Source, stop: int, is_implicit: bool) -> PixelData | None:
    """Read the element in front of which the walk stopped: Pixel Data, or the end of the file."""
    if stop >= source.size:
        check(stop == source.size)
        return None
    group, element, vr = struct.unpack_from("<HH2s", source.data, stop)
    tag, offset = group << 16 | element, stop + (8 if is_implicit else 12)
    if tag in _FLOAT_PIXELS:
        return None
    check(tag == _PIXELS and (is_implicit or vr in {b"OB", b"OW"}))
    (length,) = struct.unpack_from("<I", source.data, offset - 4)
    if length == UNDEFINED:
        if source.stream is None:
            raise UnclearError
        return PixelData(offset, -1, are_fragments_whole(source.stream, offset, source.size))
    return PixelData(offset, length, offset + length <= source.size)
