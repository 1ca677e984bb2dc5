"""Patient and study of an examination: the attributes of its header, and what a row of ``results`` holds of them."""

from functools import lru_cache
from typing import NamedTuple

_OLDEST = 1000
"""Above every age."""
_BANDS = ((50, "0 to 49"), (65, "50 to 64"), (75, "65 to 74"), (_OLDEST, "75 and over"))
"""Upper ends of bands of age in years; those from 65 on are of ICH E7."""


class StudyAttributes(NamedTuple):
    """Undecoded values of a header, padding included, empty where one is absent; no row holds one of them as it is.

    A header has them if its modality is wanted, and until the intake has read it.
    """

    character_set: bytes
    """(0008,0005) Specific Character Set, by which the others are decoded."""
    accession_number: bytes
    """(0008,0050)"""
    study_date: bytes
    """(0008,0020)"""
    study_time: bytes
    """(0008,0030)"""
    study_description: bytes
    """(0008,1030)"""
    institution: bytes
    """(0008,0080) Institution Name."""
    requesting_service: bytes
    """(0032,1033) Requesting Service: the department that referred the patient."""
    birth_date: bytes
    """(0010,0030) Patient's Birth Date, read for the age alone."""
    sex: bytes
    """(0010,0040) Patient's Sex."""
    age: bytes
    """(0010,1010) Patient's Age."""


class Identity(NamedTuple):
    """Columns of ``results`` that name the patient: only with ``--identify``."""

    patient_id: str | None
    patient_issuer: str | None
    accession_number: str | None
    study_date: str | None
    """``YYYYMMDD``"""
    study_time: str | None
    study_description: str | None
    patient_age: int | None
    """Years at the study."""
    institution: str | None
    requesting_service: str | None


class Demographics(NamedTuple):
    """Columns of ``results`` about the patient and the study."""

    accession_key: str | None = None
    """Keyed hash, 32 hexadecimal digits."""
    study_year: int | None = None
    patient_sex: str | None = None
    """``M``, ``F`` or ``O``, PS3.3 section C.7.1.1."""
    age_band: str | None = None
    identity: Identity | None = None


@lru_cache
def band_of(age: int) -> str:
    """Name of the band of an age in years."""
    return next(name for end, name in _BANDS if age < end)
