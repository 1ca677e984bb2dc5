"""Header reader with pydicom, for all headers; the reference for the fast reader."""

import math
import struct
from collections.abc import Iterable, MutableSequence
from typing import Any, BinaryIO

from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from bsbatch.dicom.encoding import HEAD_BYTES, SHORT_HEAD, UNDEFINED, is_encapsulated, is_native
from bsbatch.dicom.headers import attributes, lossy
from bsbatch.dicom.headers.attributes import IsWanted
from bsbatch.dicom.headers.damage import find_unreadable
from bsbatch.dicom.headers.elements import are_fragments_whole
from bsbatch.dicom.headers.energies import ranges_of, windows_of
from bsbatch.dicom.headers.validity import drop_unfit
from bsbatch.dicom.moments import acquisition
from bsbatch.dicom.part10 import Part10, open_file
from bsbatch.errors import ItemError
from bsbatch.patients.record import StudyAttributes
from bsbatch.reasons import EXPLANATIONS, Reason
from bsbatch.records import Detector, EnergyRange, Header, PixelData
from bsbatch.tracers.record import Drug

_FULL = [*attributes.FULL, Tag("DirectoryRecordSequence")]
_OUTLINE = [*attributes.OUTLINE, Tag("DirectoryRecordSequence")]
_GENIE_CREATOR, *_GENIE_LABELS = attributes.GENIE
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
"""Float, Double Float and Pixel Data."""
MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
_OF_DIRECTORY = frozenset({b"\x04\x00", b"\x00\x04"})
"""Group 0004, with which the data set of a DICOMDIR begins, PS3.3 section F.3.2.2."""
_INT32 = 2**31 - 1
_UINT16 = 2**16 - 1


def parse(stream: BinaryIO, start: int, size: int, is_wanted: IsWanted) -> tuple[Header, bool]:
    """Read a header for `bsbatch.dicom.headers.read.read_header`; return also True if it is that of a DICOMDIR.

    Values that do not fit their attributes are dropped.

    Raises
    ------
    ItemError
        ``decode_failed``, ``too_large``, or ``dicomdir`` if it is one by its meta information.
    """
    try:
        file = open_file(stream, start)
        _check_kind(file)
        dataset = file.read(_is_beyond_outline, _OUTLINE)
        if not is_wanted(_text(dataset, "Modality") or "", _sop_class(file.meta, dataset) or ""):
            return drop_unfit(_to_header(file.meta, dataset, None, _syntax(file, dataset, None))), False
        dataset = file.read(_PIXELS.__contains__, _FULL)
        pixels, study = _locate_pixels(file, size), _study(dataset)
        header = _to_header(file.meta, dataset, pixels, _syntax(file, dataset, pixels))
        return drop_unfit(header._replace(study=study)), "DirectoryRecordSequence" in dataset
    except Exception as error:  # damaged headers raise nearly everything (reference: 597 malformed files, 8 types)
        if isinstance(error, OSError) and error.errno is not None:  # of the disk: pydicom's own have no number
            raise
        raise _refusal(error) from error


def _refusal(error: Exception) -> ItemError:
    """Return the error of a header that cannot be parsed; pydicom replaces some errors of the stream by its own."""
    for found in (error, error.__context__):
        if isinstance(found, ItemError):
            return found
        if isinstance(found, RecursionError):
            return ItemError(Reason.DECODE_FAILED, "deeper sequences than the header of any image has: export it again")
    message = f"the header cannot be parsed ({type(error).__name__}): copy the file again"
    return ItemError(Reason.DECODE_FAILED, message)


def _check_kind(file: Part10) -> None:
    """Refuse a DICOMDIR before its records are read: it may have more elements than an image may."""
    file.stream.seek(file.start)
    if _sop_class(file.meta, Dataset()) == MEDIA_STORAGE_DIRECTORY and file.stream.read(2) in _OF_DIRECTORY:
        raise ItemError(Reason.DICOMDIR, EXPLANATIONS[Reason.DICOMDIR])


def _sop_class(meta: Dataset, dataset: Dataset) -> str | None:
    return _text(dataset, "SOPClassUID") or _text(meta, "MediaStorageSOPClassUID")


def _is_beyond_outline(tag: int) -> bool:
    return tag > attributes.LAST_OF_OUTLINE


def _to_header(meta: Dataset, dataset: Dataset, pixel_data: PixelData | None, syntax: str) -> Header:
    unreadable = find_unreadable(dataset)
    moment, patient_id = _text(dataset, "AcquisitionDateTime"), _text(dataset, "PatientID")
    date, time = acquisition(_text(dataset, "AcquisitionDate"), _text(dataset, "AcquisitionTime"), moment)
    bits_stored = _integer(dataset, "BitsStored") or _integer(dataset, "BitsAllocated") or 16
    high_bit = _integer(dataset, "HighBit")
    return Header(
        sop_uid=_text(dataset, "SOPInstanceUID") or _text(meta, "MediaStorageSOPInstanceUID"),
        sop_class=_sop_class(meta, dataset),
        study_uid=_text(dataset, "StudyInstanceUID"),
        series_uid=_text(dataset, "SeriesInstanceUID"),
        frame_of_reference_uid=_text(dataset, "FrameOfReferenceUID"),
        patient_id=patient_id,
        patient_issuer=_text(dataset, "IssuerOfPatientID"),
        acquisition_datetime=moment,
        content_date=None if date else _text(dataset, "ContentDate"),
        patient_name=None if patient_id else _text(dataset, "PatientName"),
        modality=_text(dataset, "Modality") or "",
        image_type=tuple(value.upper() for value in _texts(dataset, "ImageType")),
        manufacturer=_text(dataset, "Manufacturer"),
        model_name=_text(dataset, "ManufacturerModelName"),
        acquisition_date=date,
        acquisition_time=time,
        transfer_syntax=syntax,
        rows=_integer(dataset, "Rows") or 0,
        columns=_integer(dataset, "Columns") or 0,
        frames=_integer(dataset, "NumberOfFrames") or 1,
        samples_per_pixel=_integer(dataset, "SamplesPerPixel") or 1,
        photometric=(_text(dataset, "PhotometricInterpretation") or "MONOCHROME2").upper(),
        bits_allocated=_integer(dataset, "BitsAllocated") or 16,
        bits_stored=bits_stored,
        is_signed=_integer(dataset, "PixelRepresentation") == 1,
        pixel_spacing=_spacing(dataset),
        rescale=_rescale(dataset),
        is_lossy=lossy.is_lossy(_text(dataset, "LossyImageCompression"), syntax),
        counts_accumulated=_integer(dataset, "CountsAccumulated"),
        scan_length=_number(dataset, "ScanLength"),
        detector_vector=_integers(dataset, "DetectorVector"),
        energy_window_vector=_integers(dataset, "EnergyWindowVector"),
        drugs=_drugs(dataset),
        study=None,
        energy_windows=windows_of(
            tuple(_energy_ranges(item) for item in _items(dataset, "EnergyWindowInformationSequence")),
            *_centre(dataset),
        ),
        detectors=tuple(_detector(item) for item in _items(dataset, "DetectorInformationSequence")),
        view_texts=_view_texts(dataset),
        private_labels=_private_labels(dataset),
        view_position=_texts(dataset, "ViewPosition"),
        image_ids=_texts(dataset, "ImageID"),
        descriptions=_texts(dataset, "SeriesDescription"),
        whole_body_technique=_text(dataset, "WholeBodyTechnique"),
        pixel_data=pixel_data,
        high_bit=bits_stored - 1 if high_bit is None else high_bit,
        padding=_padding(dataset),
        has_modality_lut=bool(_items(dataset, "ModalityLUTSequence")),
        unfit=unreadable,
        is_damaged=bool(unreadable),
    )


def _study(dataset: Dataset) -> StudyAttributes:
    """Collect values as in the file: pydicom forgets their bytes with the first access to them."""
    elements = map(dataset.get_item, ("SpecificCharacterSet", *attributes.OF_STUDY))
    values = (getattr(element, "value", b"") for element in elements)
    return StudyAttributes(*(value if isinstance(value, bytes) else b"" for value in values))


def _value(dataset: Dataset, key: str | int) -> object:
    """Value of an attribute; None if it is absent, empty or invalid for its VR."""
    try:
        value = dataset[key].value if key in dataset else None
    except Exception:  # a damaged optional attribute must not cost the examination; pydicom raises nearly everything
        return None
    return None if value is None or value == "" else value


def _as_values(value: object) -> Iterable[Any]:
    if value is None:
        return ()
    return value if isinstance(value, MutableSequence) else (value,)  # pydicom's lists and sequences


def _texts(dataset: Dataset, key: str | int) -> tuple[str, ...]:
    raw = _value(dataset, key)
    if isinstance(raw, bytes):  # pydicom returns a private element of implicit VR as bytes
        raw = raw.decode("ascii", "replace").rstrip("\0 ").split("\\")
    return tuple(str(value).strip() for value in _as_values(raw))


def _text(dataset: Dataset, key: str | int) -> str | None:
    values = _texts(dataset, key)
    return (values[0] or None) if values else None


def _numbers(dataset: Dataset, key: str | int) -> tuple[float, ...]:
    try:
        values = tuple(float(value) for value in _as_values(_value(dataset, key)))
    except (TypeError, ValueError, OverflowError):
        return ()
    return values if all(map(math.isfinite, values)) else ()


def _number(dataset: Dataset, key: str | int) -> float | None:
    values = _numbers(dataset, key)
    return values[0] if values else None


def _integers(dataset: Dataset, key: str | int) -> tuple[int, ...]:
    """Values as integers, clipped to 32 bits so that an absurd one still fits the tables."""
    return tuple(max(-_INT32 - 1, min(_INT32, int(value))) for value in _numbers(dataset, key))


def _integer(dataset: Dataset, key: str | int) -> int | None:
    values = _integers(dataset, key)
    return values[0] if values else None


def _items(dataset: Dataset, key: str) -> tuple[Dataset, ...]:
    return tuple(item for item in _as_values(_value(dataset, key)) if isinstance(item, Dataset))


def _spacing(dataset: Dataset) -> tuple[float, float] | None:
    values = _numbers(dataset, "PixelSpacing")
    return (values[0], values[1]) if len(values) == 2 else None  # noqa: PLR2004 - rows, columns


def _rescale(dataset: Dataset) -> tuple[float, float]:
    slope, intercept = _number(dataset, "RescaleSlope"), _number(dataset, "RescaleIntercept")
    return (1.0 if slope is None or slope == 0 else slope, intercept or 0.0)


def _padding(dataset: Dataset) -> tuple[int, ...]:
    """Pixel Padding Value and Pixel Padding Range Limit, both of VR US or SS, as unsigned 16 bits."""
    value, limit = _integer(dataset, "PixelPaddingValue"), _integer(dataset, "PixelPaddingRangeLimit")
    return () if value is None else tuple(each & _UINT16 for each in (value, limit) if each is not None)


def _energy_ranges(item: Dataset) -> tuple[EnergyRange | None, ...]:
    lower, upper, centre, width = attributes.LIMITS
    limits = (
        (_raw(part, lower), _raw(part, upper), _raw(part, centre), _raw(part, width))
        for part in _items(item, "EnergyWindowRangeSequence")
    )
    return ranges_of(limits, *_centre(item))


def _centre(dataset: Dataset) -> tuple[bytes | None, bytes | None]:
    return _raw(dataset, "EnergyWindowCenterline"), _raw(dataset, "EnergyWindowTotalWidth")


def _raw(dataset: Dataset, keyword: str) -> bytes | None:
    """Value of an attribute as in the file; pydicom has none for numbers that it cannot convert."""
    element = dataset.get_item(keyword)
    value = None if element is None else element.value
    return value if value is None or isinstance(value, bytes) else str(value).encode("latin-1", "replace")


def _drugs(dataset: Dataset) -> tuple[Drug, ...]:
    """Read Radiopharmaceutical Information Sequence, else the attributes at the root that older objects have."""
    found = tuple(_drug(item) for item in _items(dataset, "RadiopharmaceuticalInformationSequence"))
    nuclides, names = _texts(dataset, "Radionuclide"), _texts(dataset, "Radiopharmaceutical")
    return found or ((Drug((), nuclides, (), names, None, None),) if nuclides or names else ())


def _drug(item: Dataset) -> Drug:
    nuclides, codes = _items(item, "RadionuclideCodeSequence"), _items(item, "RadiopharmaceuticalCodeSequence")
    name = _text(item, "Radiopharmaceutical")
    return Drug(
        nuclide_codes=_texts_of(nuclides, "CodeValue"),
        nuclide_texts=_texts_of(nuclides, "CodeMeaning"),
        codes=_texts_of(codes, "CodeValue"),
        texts=((name,) if name else ()) + _texts_of(codes, "CodeMeaning"),
        start_time=_text(item, "RadiopharmaceuticalStartTime"),
        start_datetime=_text(item, "RadiopharmaceuticalStartDateTime"),
    )


def _texts_of(items: Iterable[Dataset], keyword: str) -> tuple[str, ...]:
    return tuple(text for item in items if (text := _text(item, keyword)))


def _detector(item: Dataset) -> Detector:
    codes = _items(item, "ViewCodeSequence")
    return Detector(
        start_angle=_number(item, "StartAngle"),
        view_codes=tuple(
            (_text(code, "CodingSchemeDesignator") or "", _text(code, "CodeValue") or "") for code in codes
        ),
        view_texts=_view_texts(item),
    )


def _view_texts(dataset: Dataset) -> tuple[str, ...]:
    codes = _items(dataset, "ViewCodeSequence")
    return tuple(text for code in codes for key in ("CodeMeaning", "CodeValue") if (text := _text(code, key)))


def _private_labels(dataset: Dataset) -> tuple[tuple[str, ...], ...]:
    if _text(dataset, Tag(_GENIE_CREATOR)) != "GEMS_GENIE_1":
        return ()
    return tuple(labels for tag in _GENIE_LABELS if (labels := _texts(dataset, Tag(tag))))


def _locate_pixels(file: Part10, size: int) -> PixelData | None:
    """Read the element header before which reading stopped; PS3.5 section 7.1."""
    order, head = "<" if file.encoding.is_little else ">", file.stream.read(12)
    if len(head) < SHORT_HEAD or struct.unpack_from(order + "HH", head) != (0x7FE0, 0x0010):
        return None
    is_long = not file.encoding.is_implicit and HEAD_BYTES.get(head[4:6]) == len(head)
    if is_long and len(head) < HEAD_BYTES[b"OW"]:
        return None
    value = 12 if is_long else SHORT_HEAD
    length = struct.unpack_from(order + "I", head, value - 4)[0]
    offset = file.stream.tell() - len(head) + value
    if file.is_deflated:
        return PixelData(offset, -1 if length == UNDEFINED else length, is_complete=True)
    if length == UNDEFINED:
        return PixelData(offset, -1, are_fragments_whole(file.stream, offset, size))
    return PixelData(offset, length, offset + length <= size)


def _syntax(file: Part10, dataset: Dataset, pixels: PixelData | None) -> str:
    """Return the transfer syntax that fits the data set: that of the meta information unless it is wrong."""
    claimed = _text(file.meta, "TransferSyntaxUID") or ""
    is_never_deflated = claimed == DeflatedExplicitVRLittleEndian and not file.is_deflated
    is_plain = is_native(claimed) or is_never_deflated or (is_encapsulated(claimed) and _is_native(dataset, pixels))
    return file.encoding.syntax if is_plain else claimed


def _is_native(dataset: Dataset, pixels: PixelData | None) -> bool:
    """Return True if pixel data are as long as native ones of this image; encapsulated ones are of undefined length."""
    factors = ("Rows", 0), ("Columns", 0), ("NumberOfFrames", 1), ("SamplesPerPixel", 1), ("BitsAllocated", 16)
    bits = math.prod(_integer(dataset, keyword) or default for keyword, default in factors)
    return pixels is not None and bits > 0 and 0 <= pixels.length - bits // 8 <= 1
