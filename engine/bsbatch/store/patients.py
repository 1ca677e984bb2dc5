"""Columns of ``results`` about patient and study, and their values from `bsbatch.patients.record`."""

from collections.abc import Mapping

import pyarrow as pa

from bsbatch.patients.record import Demographics
from bsbatch.store.column import Column, text

DEMOGRAPHIC_COLUMNS = (
    text("accession_key", "Keyed hash of (0008,0050) Accession Number, 32 hexadecimal digits"),
    Column("study_year", pa.int16(), "Year of (0008,0020) Study Date, else of the acquisition"),
    text("patient_sex", "(0010,0040) Patient's Sex: M, F or O"),
    text("age_band", "Age at the study in years: 0 to 49, 50 to 64, 65 to 74, 75 and over"),
)
"""In every run."""
IDENTITY_COLUMNS = (
    text("patient_id", "(0010,0020) Patient ID"),
    text("patient_issuer", "(0010,0021) Issuer of Patient ID"),
    text("accession_number", "(0008,0050) Accession Number"),
    text("study_date", "(0008,0020) Study Date, YYYYMMDD"),
    text("study_time", "(0008,0030) Study Time, HHMMSS.ffffff"),
    text("study_description", "(0008,1030) Study Description"),
    Column("patient_age", pa.int16(), "Years at the study: (0010,1010) Patient's Age, else from the birth date"),
    text("institution", "(0008,0080) Institution Name"),
    text("requesting_service", "(0032,1033) Requesting Service, the referring department"),
)
"""Additional columns of runs with ``--identify``: the fields of `bsbatch.patients.record.Identity`."""


def demographic_values(person: Demographics) -> Mapping[str, str | int | None]:
    """Return the values of a row, those of `IDENTITY_COLUMNS` only if they are known."""
    return {
        "accession_key": person.accession_key,
        "study_year": person.study_year,
        "patient_sex": person.patient_sex,
        "age_band": person.age_band,
        **(person.identity._asdict() if person.identity is not None else {}),
    }
