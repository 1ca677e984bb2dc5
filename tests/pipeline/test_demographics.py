"""What a row may hold of a patient and a study."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.dicom.objects import header

from bsbatch.patients.record import Demographics, Identity, StudyAttributes
from bsbatch.pipeline.demographics import describe
from bsbatch.pseudonyms import PatientKeys
from bsbatch.records import Header

KEYS = PatientKeys.of(b"secret")
STUDY = StudyAttributes(
    b"ISO_IR 100",
    b"A 12 ",
    b"20200304",
    b"101500.5 ",
    "Ganzkörper\0".encode("latin-1"),
    b"Clinic",
    b"Urology ",
    b"19480305",
    b"f ",
    b"",
)


def named(**changes: bytes) -> Header:
    return header(study=STUDY._replace(**changes), patient_id="4711", patient_issuer="House")


def identity(**changes: bytes) -> Identity:
    found = describe(named(**changes), KEYS, is_identified=True).identity
    assert found is not None
    return found


def test_identity_is_decoded_and_the_age_follows_from_the_birth_date() -> None:
    assert identity() == Identity(
        "4711", "House", "A 12", "20200304", "101500.5", "Ganzkörper", 71, "Clinic", "Urology"
    )
    assert identity(study_date=b"20200305").patient_age == 72


def test_without_identify_only_a_hash_year_sex_and_band_remain() -> None:
    found = describe(named(), KEYS, is_identified=False)

    assert found == Demographics(KEYS.accession("A 12"), 2020, "F", "65 to 74")
    assert not any(text in repr(found) for text in ("A 12", "4711", "1948", "0304", "71", "Clinic"))


@pytest.mark.parametrize(
    ("age", "years"),
    [(b"065Y", 65), (b"65", 65), (b"018M", 1), (b"051W", 0), (b"003D", 0), (b"999Y", None), (b"old ", 71), (b"", 71)],
)
def test_a_given_age_counts_before_the_birth_date(age: bytes, years: int | None) -> None:
    assert identity(age=age).patient_age == years


def test_an_age_needs_a_date_and_the_acquisition_stands_in_for_a_missing_one() -> None:
    assert identity(study_date=b"").patient_age == 71  # of the acquisition in January
    assert identity(birth_date=b"").patient_age is None
    assert identity(birth_date=b"20210101").patient_age is None
    assert identity(study_date=b"").study_date is None


def test_older_forms_of_dates_and_times_are_written_as_new_ones() -> None:
    found = identity(study_date=b"2020.03.04", study_time=b"10:15:00")

    assert (found.study_date, found.study_time) == ("20200304", "101500")


@pytest.mark.parametrize(
    ("names", "value", "text"),
    [
        (b"ISO_IR 192", "Łódź".encode(), "Łódź"),
        (b"\\ISO 2022 IR 87", b"\x1b$B3K0e3X\x1b(B", "核医学"),
        (b"GB18030", "核医学".encode("gb18030"), "核医学"),
        (b"", b"plain\\second", "plain"),
    ],
)
def test_texts_are_decoded_by_their_character_set(names: bytes, value: bytes, text: str) -> None:
    assert identity(character_set=names, institution=value).institution == text


@given(st.builds(StudyAttributes, *[st.binary(max_size=20)] * len(StudyAttributes._fields)))
@pytest.mark.filterwarnings("ignore")
def test_any_bytes_give_values_that_a_row_can_hold(study: StudyAttributes) -> None:
    found = describe(header(study=study), KEYS, is_identified=True)

    assert found.patient_sex in {None, "M", "F", "O"}
    texts = [value for value in found.identity or () if isinstance(value, str)]
    assert all(text.isprintable() and text == text.strip() for text in texts)


def test_an_object_of_another_modality_has_none() -> None:
    assert describe(header(study=None), KEYS, is_identified=True) == Demographics()
