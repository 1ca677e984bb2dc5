"""Checks the values of a header against their attributes, PS3.5 sections 6.2 and 9.1, and drops what does not fit.

A wrong length makes a value swallow the elements behind it, and these may name the patient. The head of every element
has a byte of zero, so a control character in a text marks such a value. What the swallowed elements would decide is
not known, so the object must not be used.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from bsbatch.dicom.headers.attributes import GENIE_LABELS, OF_STUDY
from bsbatch.patients.record import StudyAttributes
from bsbatch.records import FIRST_SHARED, Header
from bsbatch.tracers.record import Drug

_REMEMBERED = 256
"""Size of the caches: an archive has few different cameras."""
_LONGEST_CODE, _LONGEST_NAME = 16, 64
"""Characters of CS and LO. Image Type may be as long as LO: cameras write values that are longer than CS allows."""
FOREIGN = re.compile("[\0-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")
"""Control characters but for those that people and character sets write: tabulators, ends of lines, ESC."""
_FOREIGN_BYTES = re.compile(FOREIGN.pattern.encode())
_NEVER_IN_NAMES = frozenset("^=\\\ufffd")
"""Separators of names and of values, and the sign of bytes that are no text: no camera has them in its name."""

_UID = r"(?![0-9.]{65})(?:[0-9]++(?:\.[0-9]++)*+)?"
_DATE = r"(?:[0-9]{4}[./-]?[0-9]{2}[./-]?[0-9]{2}|[0-9]{4}(?:[0-9]{2})?)?"
"""As PS3.5, as ACR-NEMA (see `bsbatch.dicom.moments`), or the part of it that an Acquisition DateTime may have."""
_TIME = r"(?:[0-9]{2}(?::?[0-9]{2}(?::?[0-9]{2}(?:\.[0-9]{0,12})?)?)?)?"
_TEXT = "[^\0-\x1a\x1c-\x1f\x7f]*"
_OWN_FORMS = (
    ("SOPInstanceUID", _UID),
    ("AcquisitionTime", _TIME),
    ("AcquisitionDate", _DATE),
    ("StudyInstanceUID", _UID),
    ("SeriesInstanceUID", _UID),
    ("FrameOfReferenceUID", _UID),
    ("PatientID", _TEXT),
    ("IssuerOfPatientID", _TEXT),
    ("AcquisitionDateTime", _TEXT),
    ("ContentDate", _DATE),
    ("PatientName", _TEXT),
)
"""Keywords and forms of the first fields of a `Header`, in its order; the objects of a camera do not share them."""
_OF_SERIES = 2
"""Position of the first field that the objects of a series share."""
_BETWEEN = "\0"
"""Separator of values that are checked together; no form has it."""
_OBJECT, _OWN = (
    re.compile(_BETWEEN.join(form for _, form in forms)) for forms in (_OWN_FORMS[:_OF_SERIES], _OWN_FORMS)
)
_OWN_CHECKS = tuple(
    (keyword, re.compile("(?s:.*)" if form is _TEXT else form).fullmatch) for keyword, form in _OWN_FORMS
)
_DECISIVE = frozenset({"SOPInstanceUID", "StudyInstanceUID", "SOPClassUID", "TransferSyntaxUID"})
"""Attributes without which an object, its study or its kind is not known."""


class _Fault(NamedTuple):
    """A value that does not fit."""

    keyword: str
    is_foreign: bool
    """True if it holds parts of other elements."""
    changes: dict[str, object]
    """Fields of the `Header` to replace."""


def drop_unfit(header: Header, known_from: int = len(Header._fields)) -> Header:
    """Return the header without the values that do not fit their attributes; `Header.unfit` names them.

    Most headers are returned as they are, after a match.

    Parameters
    ----------
    header
        As it was read.
    known_from
        Position of the first of the last fields that are known to fit, from `first_known`, to save time.
    """
    if known_from <= _OF_SERIES:
        is_fit = _OBJECT.fullmatch(f"{header.sop_uid or ''}{_BETWEEN}{header.acquisition_time or ''}")
    else:
        own = _BETWEEN.join([str(value or "") for value in header[: len(_OWN_FORMS)]])
        is_fit = _OWN.fullmatch(own) if known_from <= FIRST_SHARED else None
    is_sound = (not header.drugs or _are_sound(header.drugs)) and (not header.study or _is_plain(header.study))
    if is_fit and is_sound:
        return header
    faults = (*_faults_of_object(header), *_faults_of_camera(header))
    if not faults:
        return header
    unfit = dict.fromkeys((*header.unfit, *(fault.keyword for fault in faults)))
    is_damaged = header.is_damaged or any(fault.is_foreign or fault.keyword in _DECISIVE for fault in faults)
    changes: dict[str, object] = {"unfit": tuple(unfit), "is_damaged": is_damaged}
    for fault in faults:
        changes.update(fault.changes)
    return Header._make(changes.get(name, value) for name, value in zip(Header._fields, header, strict=True))


@lru_cache(_REMEMBERED)
def _are_sound(drugs: tuple[Drug, ...]) -> bool:
    """Return True if no text of the drugs holds parts of other elements. Only normalised names of them are written."""
    return not _are_foreign(drugs)


def _is_plain(study: StudyAttributes) -> bool:
    """Return True if no value has a control character. Padding with zero bytes is one, and is found sound later."""
    return _FOREIGN_BYTES.search(b"".join(study)) is None


def _foreign_in(study: StudyAttributes) -> tuple[str, ...]:
    """Keywords of the attributes of patient and study that hold parts of other elements."""
    values = zip(OF_STUDY, study[1:], strict=True)
    return tuple(keyword for keyword, value in values if FOREIGN.search(value.rstrip(b"\0 ").decode("latin-1")))


def first_known(fields: tuple[object, ...]) -> int:
    """Return the position of the first of the last fields of a header if all of them fit, else the number of fields."""
    header = Header.of_last(fields)
    is_fit = next(chain(_faults_of_object(header), _faults_of_camera(header)), None) is None
    return len(header) - len(fields) if is_fit else len(header)


def _faults_of_object(header: Header) -> Iterator[_Fault]:
    for (keyword, is_fit), field, value in zip(_OWN_CHECKS, Header._fields, header, strict=False):
        is_foreign = _are_foreign([value])
        if is_foreign or (isinstance(value, str) and not is_fit(value)):
            yield _Fault(keyword, is_foreign, {field: None})
    if not _are_sound(header.drugs):
        yield _Fault("RadiopharmaceuticalInformationSequence", True, {"drugs": ()})
    for keyword in _foreign_in(header.study) if header.study else ():
        yield _Fault(keyword, True, {"study": None})


def _faults_of_camera(header: Header) -> Iterator[_Fault]:
    for keyword, field, is_fit, absent in _CAMERA_CHECKS:
        value = header[Header._fields.index(field)]
        if value and not is_fit(str(value)):
            yield _Fault(keyword, _are_foreign([value]), {field: absent})
    if not all(map(_is_name, header.image_type)):
        is_foreign = _are_foreign(header.image_type)
        fitting = () if is_foreign else tuple(text if _is_name(text) else "" for text in header.image_type)
        yield _Fault("ImageType", is_foreign, {"image_type": fitting})
    for keyword, texts in _evidence(header):
        if _are_foreign(texts):
            yield _Fault(keyword, True, {})


def _evidence(header: Header) -> Iterator[tuple[str, Iterable[object]]]:
    """Yield the texts that decide and are not written, with their keywords."""
    yield "DetectorInformationSequence", [(item.view_codes, item.view_texts) for item in header.detectors]
    yield "ViewCodeSequence", header.view_texts
    yield GENIE_LABELS[0].keyword, header.private_labels
    yield "ViewPosition", header.view_position
    yield "ImageID", header.image_ids
    yield "SeriesDescription", header.descriptions
    yield "WholeBodyTechnique", [header.whole_body_technique]
    yield "PhotometricInterpretation", [header.photometric]


def _are_foreign(texts: Iterable[object]) -> bool:
    """Return True if one of the texts, at any depth, holds parts of other elements."""
    return any(
        FOREIGN.search(text) is not None if isinstance(text, str) else isinstance(text, tuple) and _are_foreign(text)
        for text in texts
    )


def _is_name(text: str, longest: int = _LONGEST_NAME) -> bool:
    """Return True for printable text that is no name of a person by its separators."""
    return len(text) <= longest and text.isprintable() and _NEVER_IN_NAMES.isdisjoint(text)


def _is_code(text: str) -> bool:
    return _is_name(text, _LONGEST_CODE)


def _is_uid(text: str) -> bool:
    return re.fullmatch(_UID, text) is not None


_CAMERA_CHECKS = (
    ("SOPClassUID", "sop_class", _is_uid, None),
    ("TransferSyntaxUID", "transfer_syntax", _is_uid, ""),
    ("Modality", "modality", _is_code, ""),
    ("Manufacturer", "manufacturer", _is_name, None),
    ("ManufacturerModelName", "model_name", _is_name, None),
)
"""Keyword, field, check, and the value of the field without one that fits."""
