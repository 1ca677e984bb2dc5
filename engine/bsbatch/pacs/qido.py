"""Data sets in DICOM JSON, PS3.18 annex F, as the records of `bsbatch.pacs.protocol`. Servers may return anything."""

from collections.abc import Mapping
from typing import NamedTuple

from bsbatch.pacs.protocol import PacsObject, PacsStudy, StudyFilter

_LONGEST_UID, _LAST_DAY = 64, "99999999"

STUDY_DATE, ACCESSION, PATIENT, MODALITIES = "00080020", "00080050", "00100020", "00080061"
STUDY_UID, SERIES_UID, SOP_UID = "0020000D", "0020000E", "00080018"
STUDY_INSTANCES, SERIES_INSTANCES, MODALITY, DESCRIPTION = "00201208", "00201209", "00080060", "0008103E"
SOP_CLASS, IMAGE_TYPE, ROWS, COLUMNS, FRAMES, BITS = (
    "00080016",
    "00080008",
    "00280010",
    "00280011",
    "00280008",
    "00280100",
)


class Series(NamedTuple):
    """A series that a PACS has."""

    uid: str
    modality: str | None
    description: str | None
    instances: int | None = None
    """(0020,1209) Number of Series Related Instances."""


def study_of(item: object, wanted: StudyFilter) -> PacsStudy | None:
    """Return a study; None if it is none, or if the server ignored the search and it is another one."""
    uid = _uid(item, STUDY_UID)
    if uid is None or not _is_wanted(item, wanted):
        return None
    return PacsStudy(uid, _number(item, STUDY_INSTANCES))


def series_of(item: object) -> Series | None:
    """Return a series; None if it is none."""
    uid = _uid(item, SERIES_UID)
    return (
        None
        if uid is None
        else Series(uid, _text(item, MODALITY), _text(item, DESCRIPTION), _number(item, SERIES_INSTANCES))
    )


def object_of(item: object, series: Series) -> PacsObject | None:
    """Return an object of a series; None if it is none, or is known to be of another one."""
    uid = _uid(item, SOP_UID)
    if uid is None or _text(item, SERIES_UID) not in {None, series.uid}:
        return None
    return PacsObject(
        series.uid,
        uid,
        series.modality,
        series.description,
        _text(item, SOP_CLASS),
        _texts(item, IMAGE_TYPE) or None,
        *(_number(item, tag) for tag in (ROWS, COLUMNS, FRAMES, BITS)),
    )


def _is_wanted(item: object, wanted: StudyFilter) -> bool:
    """Return False if a value contradicts the search; servers that honour it leave values out, too."""
    modalities = _texts(item, MODALITIES)
    if modalities and "NM" not in modalities:
        return False
    day, (first, last) = _text(item, STUDY_DATE), (wanted.dates or "-").split("-")
    if day is not None and not first <= day <= (last or _LAST_DAY):
        return False
    asked = ((wanted.accession, ACCESSION), (wanted.patient, PATIENT))
    return all(value is None or _text(item, tag) in {None, value} for value, tag in asked)


def _values(item: object, tag: str) -> list[object]:
    element = item.get(tag) if isinstance(item, Mapping) else None
    values = element.get("Value") if isinstance(element, Mapping) else None
    return values if isinstance(values, list) else []


def _texts(item: object, tag: str) -> tuple[str, ...]:
    return tuple(value.strip() for value in _values(item, tag) if isinstance(value, str))


def _text(item: object, tag: str) -> str | None:
    return next(iter(_texts(item, tag)), "") or None


def _uid(item: object, tag: str) -> str | None:
    text = _text(item, tag)
    return text if text is not None and len(text) <= _LONGEST_UID and text.isascii() and text.isprintable() else None


def _number(item: object, tag: str) -> int | None:
    """A number, which older servers write as text."""
    value = next(iter(_values(item, tag)), None)
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdecimal():
        value = int(value.strip()[:9])
    return int(value) if isinstance(value, int | float) and 0 <= value < 1 << 31 else None
