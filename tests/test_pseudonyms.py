from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.dicom.objects import header, ref

from bsbatch.errors import UsageError
from bsbatch.pseudonyms import PatientKeys, Pseudonymiser

KEY, OTHER = Pseudonymiser(b"0123456789abcdef"), Pseudonymiser(b"fedcba9876543210")
UIDS = ("sop_uid", "study_uid", "series_uid", "frame_of_reference_uid")


@given(st.text(max_size=64))
def test_a_pseudonym_is_a_valid_uid_of_the_uuid_form(uid: str) -> None:
    made = KEY.uid(uid)

    assert made is not None
    root, arc, number = made.split(".")
    assert (root, arc) == ("2", "25")
    assert number == str(int(number))
    assert int(number) < 2**128
    assert len(made) <= 64


def test_equal_uids_stay_equal_and_others_differ() -> None:
    assert KEY.uid("1.2.3") == KEY.uid("1.2.3") != KEY.uid("1.2.4")


def test_another_key_gives_other_pseudonyms() -> None:
    assert KEY.uid("1.2.3") != OTHER.uid("1.2.3")
    assert KEY.ref(ref()).source != OTHER.ref(ref()).source
    assert KEY.fingerprint != OTHER.fingerprint


def test_an_absent_uid_stays_absent() -> None:
    assert KEY.uid(None) is None


def test_only_the_uids_of_a_header_change() -> None:
    found, made = header(frame_of_reference_uid="1.2.9"), KEY.header(header(frame_of_reference_uid="1.2.9"))

    assert {name for name, one, other in zip(found._fields, found, made, strict=True) if one != other} == set(UIDS)


def test_equal_uids_in_two_headers_stay_equal() -> None:
    first, second = KEY.header(header(sop_uid="1")), KEY.header(header(sop_uid="2"))

    assert (first.study_uid, first.series_uid) == (second.study_uid, second.series_uid)
    assert first.sop_uid != second.sop_uid


def test_a_reference_hides_its_path_and_still_opens() -> None:
    made = KEY.ref(ref("Muster^Max/1.dcm"))

    assert made.location == ref("Muster^Max/1.dcm").location
    assert "Muster" not in made.source
    assert len(made.source) == 64
    assert (made.size, made.version, made.problem) == (1, "1", None)


def test_a_path_and_a_uid_of_the_same_text_have_different_pseudonyms() -> None:
    uid = KEY.uid("1.2.3")

    assert uid is not None
    assert f"{int(uid.split('.')[2]):032x}" not in KEY.ref(ref("1.2.3")).source


def test_the_fingerprint_does_not_hold_the_key() -> None:
    assert KEY.fingerprint == Pseudonymiser(KEY.key).fingerprint
    assert KEY.key.decode() not in KEY.fingerprint
    assert len(KEY.fingerprint) == 16


def test_a_key_is_read_without_its_trailing_newline(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"0123456789abcdef\n")

    assert Pseudonymiser.from_file(tmp_path / "key") == KEY


@pytest.mark.parametrize("content", [b"", b"short", b"0123456789abcde\n"])
def test_the_error_about_a_short_key_has_the_command_that_makes_one(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(content)

    with pytest.raises(UsageError, match="bsbatch key FILE makes one"):
        Pseudonymiser.from_file(tmp_path / "key")


@pytest.mark.parametrize("name", ["absent", "."])
def test_a_key_file_that_cannot_be_read_is_refused_by_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        Pseudonymiser.from_file(tmp_path / name)


def test_names_that_differ_in_their_separators_alone_have_one_hash() -> None:
    keys = PatientKeys.random()
    names = [keys.header(header(patient_name=name)).patient_name for name in ("Doe^John^^", "DOE JOHN", "Doe^Jane")]

    assert names[0] == names[1] != names[2]
    assert "Doe" not in str(names)
