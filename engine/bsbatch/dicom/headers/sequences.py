"""Decodes the sequences of a header for the fast reader: windows, radiopharmaceuticals, detectors, view codes."""

from functools import lru_cache

from bsbatch.dicom.headers import attributes, values
from bsbatch.dicom.headers.elements import RawValues, Walker, Wanted
from bsbatch.dicom.headers.energies import ranges_of
from bsbatch.records import Detector, EnergyRange
from bsbatch.tracers.record import Drug

_REMEMBERED = 256
"""Size of the caches: a camera writes the same detectors and windows into every header."""


@lru_cache(_REMEMBERED)
def read_windows(value: bytes, is_implicit: bool) -> tuple[tuple[EnergyRange | None, ...], ...]:
    """Ranges of each item of Energy Window Information Sequence."""
    items = Walker(value, is_implicit).items(attributes.WINDOW)
    return tuple(_energy_ranges(item, is_implicit) for item in items)


def _energy_ranges(item: RawValues, is_implicit: bool) -> tuple[EnergyRange | None, ...]:
    parts = read_items(item, "EnergyWindowRangeSequence", is_implicit, attributes.ENERGY_RANGE)
    lower, upper, centre, width = attributes.LIMITS
    limits = ((part.get(lower), part.get(upper), part.get(centre), part.get(width)) for part in parts)
    return ranges_of(limits, *centre_of(item))


def centre_of(raw: RawValues) -> tuple[bytes | None, bytes | None]:
    """Centre and width of a window, retired attributes that old objects have in place of limits."""
    return raw.get("EnergyWindowCenterline"), raw.get("EnergyWindowTotalWidth")


@lru_cache(_REMEMBERED)
def read_drugs(packed: tuple[bytes, ...], codec: str, is_implicit: bool) -> tuple[Drug, ...]:
    """Read Radiopharmaceutical Information Sequence, else the attributes at the root that older objects have."""
    raw = {keyword: value for keyword, value in zip(attributes.OF_DRUGS, packed, strict=True) if value}
    items = read_items(raw, "RadiopharmaceuticalInformationSequence", is_implicit, attributes.DRUG)
    nuclides, names = (values.free_texts(raw, keyword, codec) for keyword in attributes.OF_DRUGS[:2])
    if items or not (nuclides or names):
        return tuple(_drug(item, codec, is_implicit) for item in items)
    return (Drug((), nuclides, (), names, None, None),)


def _drug(item: RawValues, codec: str, is_implicit: bool) -> Drug:
    nuclides = read_items(item, "RadionuclideCodeSequence", is_implicit, attributes.CODE)
    codes = read_items(item, "RadiopharmaceuticalCodeSequence", is_implicit, attributes.CODE)
    name = values.free_text(item, "Radiopharmaceutical", codec)
    return Drug(
        nuclide_codes=_texts_of(nuclides, "CodeValue", codec),
        nuclide_texts=_texts_of(nuclides, "CodeMeaning", codec),
        codes=_texts_of(codes, "CodeValue", codec),
        texts=((name,) if name else ()) + _texts_of(codes, "CodeMeaning", codec),
        start_time=values.unique_text(item.get("RadiopharmaceuticalStartTime", b"")),
        start_datetime=values.unique_text(item.get("RadiopharmaceuticalStartDateTime", b"")),
    )


def _texts_of(items: list[RawValues], keyword: str, codec: str) -> tuple[str, ...]:
    return tuple(text for item in items if (text := values.free_text(item, keyword, codec)))


@lru_cache(_REMEMBERED)
def read_detectors(value: bytes, codec: str, is_implicit: bool) -> tuple[Detector, ...]:
    """Items of Detector Information Sequence."""
    items = Walker(value, is_implicit).items(attributes.DETECTOR)
    return tuple(_detector(item, codec, is_implicit) for item in items)


def _detector(item: RawValues, codec: str, is_implicit: bool) -> Detector:
    codes = read_items(item, "ViewCodeSequence", is_implicit, attributes.CODE)
    schemes = (values.free_text(code, "CodingSchemeDesignator", codec) or "" for code in codes)
    numbers = (values.free_text(code, "CodeValue", codec) or "" for code in codes)
    return Detector(
        start_angle=values.decimal(item, "StartAngle"),
        view_codes=tuple(zip(schemes, numbers, strict=True)),
        view_texts=read_view_texts(codes, codec),
    )


def read_view_texts(codes: list[RawValues], codec: str) -> tuple[str, ...]:
    """Code Meaning and Code Value of the items of a View Code Sequence."""
    keywords = ("CodeMeaning", "CodeValue")
    return tuple(text for code in codes for keyword in keywords if (text := values.free_text(code, keyword, codec)))


def read_items(raw: RawValues, keyword: str, is_implicit: bool, wanted: Wanted) -> list[RawValues]:
    """Undecoded values of the items of a sequence; none if it is absent."""
    return Walker(raw[keyword], is_implicit).items(wanted) if keyword in raw else []
