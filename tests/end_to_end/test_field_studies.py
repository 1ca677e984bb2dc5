"""Field cases of several objects: patients, days, scans, repeats, copies and conflicts. All of them in one archive."""

import numpy as np
import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import RLELossless
from tests.archives import uid
from tests.end_to_end.field_cases import Files, Found, Make, archive_fixture, counts, encode, register, scan, view

CASES: dict[str, Make] = {}
case = register(CASES)
LONE = ("failed", "single_view_only")
USED = ("used", None)
UNTIMED = {"AcquisitionTime": None, "AcquisitionDate": None}


found = archive_fixture(CASES)


def files(**datasets: FileDataset) -> Files:
    return {name: encode(dataset) for name, dataset in datasets.items()}


@case
def plain() -> Files:
    return files(a=scan("plain", counts(1)))


def two_patients(times: dict[str, str | None]) -> Files:
    shared = {"StudyInstanceUID": uid("shared", repr(times)), "SeriesInstanceUID": uid("one", repr(times)), **times}
    order = (("1_p1", 1, "A"), ("2_p2", 2, "A"), ("3_p2", 2, "P"), ("4_p1", 1, "P"))
    return files(**{name: view(f"patient {image}", image, side, **shared) for name, image, side in order})


@case
def patients_without_times() -> Files:
    return two_patients({"AcquisitionTime": None, "AcquisitionDate": None})


@case
def patients_with_times() -> Files:
    return two_patients({"AcquisitionTime": "101500"})


@pytest.mark.parametrize("name", ["patients_without_times", "patients_with_times"])
def test_two_patients_in_one_series_are_two_examinations(found: dict[str, Found], name: str) -> None:
    assert found[name].pairs == {("1_p1", "4_p1"), ("2_p2", "3_p2")}
    assert set(found[name].files.values()) == {USED}


@case
def a_view_of_each_patient() -> Files:
    shared = {"StudyInstanceUID": uid("each"), "SeriesInstanceUID": uid("each", 1)}
    return files(a=view("first", 1, "A", **shared), b=view("second", 1, "P", **shared))


@case
def issuers() -> Files:
    ant, post = view("4711", 1, "A", IssuerOfPatientID="NORTH"), view("4711", 1, "P", IssuerOfPatientID="SOUTH")
    return files(a=ant, b=post)


@pytest.mark.parametrize("name", ["a_view_of_each_patient", "issuers"])
def test_views_of_two_patients_fail_each_for_itself(found: dict[str, Found], name: str) -> None:
    assert found[name].files == {"a": LONE, "b": LONE}


@case
def hours_in_texts() -> Files:
    order = (("1", 1, "A", "4H"), ("2", 2, "A", "24H"), ("3", 2, "P", "24H"), ("4", 1, "P", "4H"))
    return files(
        **{
            name: view("hours", image, side, SeriesDescription=f"WB {hours} {side}", AcquisitionTime=None)
            for name, image, side, hours in order
        }
    )


@case
def moments_only() -> Files:
    order = (("1", 1, "A", "04"), ("2", 2, "A", "05"), ("3", 2, "P", "05"), ("4", 1, "P", "04"))
    return files(
        **{
            name: view("moments", image, side, AcquisitionDateTime=f"202003{day}120000", **UNTIMED)
            for name, image, side, day in order
        }
    )


@case
def days_without_times() -> Files:
    order = (("1", 1, "A", "04"), ("2", 2, "A", "05"), ("3", 2, "P", "05"), ("4", 1, "P", "04"))
    return files(
        **{
            name: view("days", image, side, AcquisitionDate=f"202003{day}", AcquisitionTime=None)
            for name, image, side, day in order
        }
    )


@case
def one_head() -> Files:
    order = (("1", 1, "A", "1200"), ("4", 1, "P", "1225"), ("2", 2, "A", "1235"), ("3", 2, "P", "1300"))
    return files(
        **{
            name: view(
                "one head",
                image,
                side,
                SeriesInstanceUID=uid("one head", image),
                FrameOfReferenceUID=uid("one reference"),
                AcquisitionTime=f"{time}00",
            )
            for name, image, side, time in order
        }
    )


@pytest.mark.parametrize("name", ["hours_in_texts", "moments_only", "days_without_times", "one_head"])
def test_early_and_late_scans_keep_their_own_views(found: dict[str, Found], name: str) -> None:
    assert found[name].pairs == {("1", "4"), ("2", "3")}


@case
def old_dates() -> Files:
    first = view("old", 1, "A", AcquisitionDate="2020.03.04", AcquisitionTime="12:00:00")
    second = view("old", 1, "P", AcquisitionDate="2020.03.11", AcquisitionTime="12:00:30")
    return files(a=first, b=second)


def test_dates_of_the_old_standard_keep_two_days_apart(found: dict[str, Found]) -> None:
    assert found["old_dates"].files == {"a": LONE, "b": LONE}


@case
def midnight() -> Files:
    first = view("night", 1, "A", AcquisitionDate="20200304", AcquisitionTime="235958")
    return files(a=first, b=view("night", 1, "P", AcquisitionDate="20200305", AcquisitionTime="000001"))


def test_a_scan_over_midnight_is_one_examination(found: dict[str, Found]) -> None:
    assert found["midnight"].pairs == {("a", "b")}


@case
def repeat() -> Files:
    first = view("repeat", 2, "A", AcquisitionTime="120000")
    again = {
        "A": view("repeat", 1, "A", AcquisitionTime="120100"),
        "P": view("repeat", 1, "P", AcquisitionTime="120100"),
    }
    return files(a=first, b=again["P"], c=again["A"])


def test_the_view_of_the_same_time_is_the_partner_and_a_stopped_one_stays_alone(found: dict[str, Found]) -> None:
    assert found["repeat"].pairs == {("c", "b")}
    assert found["repeat"].files["a"] == LONE
    (row,) = (row for row in found["repeat"].examinations if row["status"] == "ok")
    assert row["p_metastasis"] == found["plain"].scored["p_metastasis"]


@case
def third_view() -> Files:
    views = view("third", 1, "A", AcquisitionTime=None), view("third", 1, "P", AcquisitionTime=None)
    return files(a=views[0], b=views[1], c=view("third", 2, "A", AcquisitionTime=None))


def test_a_third_view_without_a_time_makes_all_of_them_ambiguous(found: dict[str, Found]) -> None:
    assert set(found["third_view"].files.values()) == {("failed", "ambiguous_pairing")}
    (row,) = found["third_view"].examinations
    assert all(f"third_view/{name}" in row["message"] for name in "abc")


@case
def placeholder_spacing() -> Files:
    return files(
        a=view("spacing", 1, "A", PixelSpacing=[2.4, 2.4], ScanLength=1950),
        b=view("spacing", 1, "P", PixelSpacing=[0, 0], ScanLength=1948),
    )


@case
def camera_in_one_view() -> Files:
    return files(a=view("camera", 1, "A"), b=view("camera", 1, "P", ManufacturerModelName=None, Manufacturer=""))


@case
def words_against_codes() -> Files:
    swapped = {"A": "POST WHOLE BODY", "P": "ANT WHOLE BODY"}
    return files(**{name: view("swapped", 1, side, SeriesDescription=swapped[side]) for name, side in ("aA", "bP")})


@case
def patient_in_one_view() -> Files:
    return files(a=view("one id", 1, "A", PatientID=""), b=view("one id", 1, "P"))


@case
def patient_between_spaces() -> Files:
    return files(a=view("spaces", 1, "A", PatientID=" 4711"), b=view("spaces", 1, "P", PatientID="4711 "))


@case
def words_of_prostatectomy() -> Files:
    return described("BONE WB POST PROSTATECTOMY")


@case
def words_of_injection() -> Files:
    return described("WB 3H POST MDP")


@case
def words_of_fracture() -> Files:
    return described("WB POST FX ANT PELVIS")


@case
def suffix_of_follow_up() -> Files:
    return described("BONE SCAN_F")


@case
def words_of_projection() -> Files:
    return described("WB BONE + SPECT AP")


@case
def words_of_skull() -> Files:
    return described("WB + LAT SKULL")


def described(text: str) -> Files:
    return files(a=view(text, 1, "A", SeriesDescription=text), b=view(text, 1, "P", SeriesDescription=text))


AS_PLAIN = (
    "placeholder_spacing",
    "camera_in_one_view",
    "words_against_codes",
    "patient_in_one_view",
    "patient_between_spaces",
    "words_of_prostatectomy",
    "words_of_injection",
    "words_of_fracture",
    "suffix_of_follow_up",
    "words_of_projection",
    "words_of_skull",
)


@pytest.mark.parametrize("name", AS_PLAIN)
def test_words_and_absent_values_contradict_no_code(found: dict[str, Found], name: str) -> None:
    assert found[name].pairs == {("a", "b")}
    assert found[name].scored["p_metastasis"] == found["plain"].scored["p_metastasis"]
    assert found[name].scored["pixel_xxh3"] == found["plain"].scored["pixel_xxh3"]


@case
def times_of_zero() -> Files:
    return files(
        **{
            f"{side}{image}": view("midnights", image, side, AcquisitionTime="000000")
            for side in "AP"
            for image in (1, 2)
        }
    )


def test_times_of_zero_tell_no_scans_apart(found: dict[str, Found]) -> None:
    assert set(found["times_of_zero"].files.values()) == {("failed", "ambiguous_pairing")}


@case
def two_matrices() -> Files:
    small = np.ascontiguousarray(counts(1)[1:, ::2, ::2])
    return files(a=view("matrices", 1, "A"), b=scan("matrices", small, views="P"))


@case
def two_cameras() -> Files:
    return files(
        **{name: view("cameras", 1, side, ManufacturerModelName=f"Camera {side}") for name, side in ("aA", "bP")}
    )


@pytest.mark.parametrize("name", ["two_matrices", "two_cameras"])
def test_values_that_both_views_give_must_agree(found: dict[str, Found], name: str) -> None:
    assert found[name].files == dict.fromkeys("ab", ("failed", "matrix_mismatch"))


@case
def names_without_ids() -> Files:
    first = view("no ids", 1, "A", PatientID=None, PatientName="First^Patient")
    return files(a=first, b=view("no ids", 1, "P", PatientID=None, PatientName="Second^Patient"))


def test_views_of_two_names_without_an_id_are_no_pair(found: dict[str, Found]) -> None:
    assert not found["names_without_ids"].pairs


@case
def moments_against_dates() -> Files:
    return files(
        a=view("moments against", 1, "A", AcquisitionDateTime="20200102101500"),
        b=view("moments against", 1, "P", AcquisitionDateTime="20200109101500"),
    )


@case
def days_of_content() -> Files:
    return files(
        **{
            name: view("content", 1, side, ContentDate=f"202001{day}", ContentTime="101500", **UNTIMED)
            for name, side, day in (("a", "A", "02"), ("b", "P", "09"))
        }
    )


@pytest.mark.parametrize("name", ["moments_against_dates", "days_of_content"])
def test_views_that_any_date_keeps_apart_are_no_pair(found: dict[str, Found], name: str) -> None:
    assert not found[name].pairs


@case
def shared_words() -> Files:
    return files(
        **{
            name: view("shared", 1, side, SeriesDescription=f"{word} WB POST MDP", DetectorInformationSequence=None)
            for name, side, word in (("a", "A", "ANT"), ("b", "P", "POST"))
        }
    )


def test_words_that_both_views_share_are_no_evidence(found: dict[str, Found]) -> None:
    assert found["shared_words"].pairs == {("a", "b")}


@case
def one_uid_for_all() -> Files:
    uids = {"StudyInstanceUID": uid("all"), "SeriesInstanceUID": uid("all", 1), "SOPInstanceUID": uid("all", 2)}
    return files(**{f"p{number}": scan(f"all {number}", counts(number), **uids) for number in (1, 2, 3)})


@case
def one_uid_for_both_views() -> Files:
    uids = {"SOPInstanceUID": uid("both")}
    return files(a=view("both", 1, "A", **uids), b=view("both", 1, "P", **uids))


@case
def one_pixel_changed() -> Files:
    changed = counts(1)
    changed[1, 200, 60] += 1
    return files(a=scan("changed", counts(1)), b=scan("changed", changed))


@pytest.mark.parametrize("name", ["one_uid_for_all", "one_uid_for_both_views", "one_pixel_changed"])
def test_equal_uids_with_other_pixels_are_a_conflict_that_fails_all(found: dict[str, Found], name: str) -> None:
    assert set(found[name].files.values()) == {("failed", "uid_conflict")}
    assert not found[name].pairs


@case
def sent_again_in_rle() -> Files:
    again = scan("again", counts(1))
    again.compress(RLELossless, counts(1), encoding_plugin="pydicom", generate_instance_uid=False)
    return files(a=scan("again", counts(1))) | {"b": encode(again, RLELossless)}


def test_an_object_sent_again_in_another_encoding_is_a_copy(found: dict[str, Found]) -> None:
    assert found["sent_again_in_rle"].files == {"a": USED, "b": ("skipped", "duplicate_view")}


@case
def sent_again_under_another_uid() -> Files:
    return files(a=scan("sent again", counts(1)), b=scan("sent again", counts(1), name="again"))


@case
def sent_again_without_patient() -> Files:
    return files(a=scan("whose", counts(1)), b=scan("whose", counts(1), PatientID=None))


@pytest.mark.parametrize("name", ["sent_again_under_another_uid", "sent_again_without_patient"])
def test_equal_pixels_of_one_patient_are_a_copy(found: dict[str, Found], name: str) -> None:
    assert found[name].files == {"a": USED, "b": ("skipped", "duplicate_view")}


@case
def equal_pixels_of_two_patients() -> Files:
    second = scan("twins", counts(1), name="second", PatientID="the other twin")
    return files(a=scan("twins", counts(1)), b=second)


def test_equal_pixels_of_two_patients_are_two_examinations(found: dict[str, Found]) -> None:
    assert found["equal_pixels_of_two_patients"].pairs == {("a", "a"), ("b", "b")}


@case
def late_views_beside_object() -> Files:
    late = {name: view("late", 2, side, AcquisitionTime="150000") for name, side in ("bA", "cP")}
    return files(a=scan("late", counts(1)), **late)


def test_an_object_with_both_views_leaves_the_late_views_to_each_other(found: dict[str, Found]) -> None:
    assert found["late_views_beside_object"].pairs == {("a", "a"), ("b", "c")}


@case
def matrices_of_two_scans() -> Files:
    small = counts(2)[:, ::2, ::2]
    untimed = {side: view("two sizes", 1, side, AcquisitionTime=None) for side in "AP"}
    halves = {
        side: scan("two sizes", np.ascontiguousarray(small[at : at + 1]), views=side, name="s", AcquisitionTime=None)
        for at, side in enumerate("AP")
    }
    return files(a=untimed["A"], b=halves["A"], c=halves["P"], d=untimed["P"])


@case
def image_ids_of_two_scans() -> Files:
    order = (("a", 1, "A", "4H"), ("b", 2, "A", "24H"), ("c", 2, "P", "24H"), ("d", 1, "P", "4H"))
    return files(
        **{
            name: view("image ids", image, side, ImageID=f"WB {hours}", AcquisitionTime=None)
            for name, image, side, hours in order
        }
    )


@pytest.mark.parametrize("name", ["matrices_of_two_scans", "image_ids_of_two_scans"])
def test_matrix_or_image_id_tells_scans_without_times_apart(found: dict[str, Found], name: str) -> None:
    assert found[name].pairs == {("a", "d"), ("b", "c")}


@case
def split_copy() -> Files:
    series = uid("split")
    copies = [view("split", 1, side, SeriesInstanceUID=series) for side in "AP"]
    return files(a=copies[0], b=scan("split", counts(1)), c=copies[1])


def test_the_split_views_of_an_object_are_its_copies(found: dict[str, Found]) -> None:
    copy = ("skipped", "duplicate_view")
    assert found["split_copy"].files == {"a": copy, "b": USED, "c": copy}
    assert found["split_copy"].scored["p_metastasis"] == found["plain"].scored["p_metastasis"]


@case
def processed_beside_views() -> Files:
    kind = ["DERIVED", "PRIMARY", "WHOLE BODY", "EMISSION"]
    processed = scan("processed", counts(1) // 2, ImageType=kind, SeriesInstanceUID=uid("workstation"))
    return files(a=processed, b=view("processed", 1, "A"), c=view("processed", 1, "P"))


def test_a_processed_object_beside_original_views_is_a_copy(found: dict[str, Found]) -> None:
    assert found["processed_beside_views"].pairs == {("b", "c")}
    assert found["processed_beside_views"].files["a"] == ("skipped", "derived_copy")
