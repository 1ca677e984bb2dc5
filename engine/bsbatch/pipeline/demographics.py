"""Demographics of a scan from its header: decoded for the scans that are used, and no more than a row may hold."""

import re
from datetime import date
from functools import lru_cache

from pydicom.charset import convert_encodings, decode_bytes

from bsbatch.dicom.moments import day_of
from bsbatch.patients.record import Demographics, Identity, StudyAttributes, band_of
from bsbatch.pseudonyms import PatientKeys
from bsbatch.records import Header

_AGE = re.compile(r"(\d{1,3})([DWMY]?)")
"""VR AS of PS3.5 section 6.2; some writers leave out zeros and the unit of years."""
_IN_A_YEAR = {"D": 365, "W": 52, "M": 12, "Y": 1, "": 1}
_MOST_YEARS = 130
_TIME = re.compile(r"(\d{2}):?(\d{2})(?::?(\d{2}(?:\.\d{1,6})?))?")
_SEXES = frozenset({"M", "F", "O"})
_REMEMBERED = 4096
"""Size of the caches: days, ages and sexes repeat."""
_ESCAPE = b"\x1b"
_LONGEST = 256
"""Characters of a text; LO has 64, and writers exceed it."""


def describe(header: Header, keys: PatientKeys, *, is_identified: bool) -> Demographics:
    """Return what a row may hold of a patient and a study.

    Parameters
    ----------
    header
        As it was read: its identity is not replaced by hashes yet.
    keys
        Make the key of the accession number.
    is_identified
        True to keep what names the patient.
    """
    study = header.study
    if study is None:
        return Demographics()
    day = study_day(header)
    years, number = _years(study, day), _text(study, study.accession_number)
    return Demographics(
        keys.accession(number),
        None if day is None else _date(day).year,
        _sex(study.sex),
        None if years is None else band_of(years),
        _identity(header, study, number, years) if is_identified else None,
    )


def study_day(header: Header) -> int | None:
    """Return the proleptic ordinal of the date of a study, else that of the acquisition; None without both."""
    return (_day(header.study.study_date) if header.study else None) or day_of(header.acquisition_date)


def _identity(header: Header, study: StudyAttributes, number: str | None, years: int | None) -> Identity:
    day, time = _day(study.study_date), _TIME.fullmatch(_code(study.study_time))
    return Identity(
        header.patient_id,
        header.patient_issuer,
        number,
        None if day is None else f"{date.fromordinal(day):%Y%m%d}",
        "".join(filter(None, time.groups())) if time else None,
        _text(study, study.study_description),
        years,
        _text(study, study.institution),
        _text(study, study.requesting_service),
    )


def _years(study: StudyAttributes, day: int | None) -> int | None:
    """Age in whole years: as it is given, else from the birth date to the day of the study."""
    years = _given_years(study.age) if study.age else None
    born = _day(study.birth_date) if years is None else None
    if born is not None and day is not None:
        birth, then = _date(born), _date(day)
        years = then.year - birth.year - ((then.month, then.day) < (birth.month, birth.day))
    return years if years is not None and 0 <= years <= _MOST_YEARS else None


@lru_cache(_REMEMBERED)
def _given_years(age: bytes) -> int | None:
    given = _AGE.fullmatch(_code(age).upper())
    return int(given[1]) // _IN_A_YEAR[given[2]] if given else None


@lru_cache(_REMEMBERED)
def _sex(value: bytes) -> str | None:
    sex = _code(value).upper()
    return sex if sex in _SEXES else None


@lru_cache(_REMEMBERED)
def _day(value: bytes) -> int | None:
    return day_of(_code(value))


_date = lru_cache(_REMEMBERED)(date.fromordinal)


def _code(value: bytes) -> str:
    """First value of CS, DA, TM or AS, which do not depend on the character set."""
    return value.decode("latin-1").partition("\\")[0].strip("\0 ")


def _text(study: StudyAttributes, value: bytes) -> str | None:
    """First value of LO or SH on one line; None if it is empty, no text, or longer than any."""
    if not value:
        return None
    try:
        is_plain = value.isascii() and _ESCAPE not in value
        whole = value.decode("ascii") if is_plain else decode_bytes(value, _codecs(study.character_set), {0x5C})
    except Exception:  # of character sets that do not exist pydicom raises several errors
        return None
    text = " ".join(whole.rstrip("\0 ").partition("\\")[0].split())
    return text if text.isprintable() and 0 < len(text) <= _LONGEST else None


def _codecs(character_set: bytes) -> list[str]:
    """Python codecs of a Specific Character Set; pydicom raises several errors for one that does not exist."""
    names = character_set.decode("latin-1").rstrip("\0 ").split("\\")
    return list(convert_encodings([name.strip() for name in names]))
