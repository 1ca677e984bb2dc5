"""Values that do not fit their attributes are dropped and named, and decide nothing."""

import struct
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian
from tests.dicom.headers.test_fast import read_fast
from tests.dicom.objects import CT, SECONDARY_CAPTURE, counts, dataset, encode, header, item, read
from tests.end_to_end.tables import bsbatch, objects, results

from bsbatch.dicom.headers.validity import drop_unfit
from bsbatch.dicom.selection import decline, find_defect, find_gap
from bsbatch.reasons import Reason, Status
from bsbatch.records import Detector, Header
from bsbatch.tracers.record import Drug

pytestmark = pytest.mark.filterwarnings("ignore")

SWALLOWED = "Nobody\x10\x00\x10\x00PN\x08\x00Doe^Jane"
TEXTS: dict[str, Any] = {
    "view_position": ("A", SWALLOWED),
    "image_ids": (SWALLOWED,),
    "descriptions": (SWALLOWED,),
    "view_texts": (SWALLOWED,),
    "private_labels": ((SWALLOWED,),),
    "whole_body_technique": SWALLOWED,
    "detectors": (Detector(None, (("SCT", SWALLOWED),), ()),),
    "drugs": (Drug((), (), (), ("MDP", SWALLOWED), None, None),),
    "patient_id": SWALLOWED,
    "patient_issuer": SWALLOWED,
    "patient_name": SWALLOWED,
    "acquisition_datetime": SWALLOWED,
}


def reason_of(found: Header) -> Reason | None:
    verdict = decline(found) or find_defect(found, 1 << 24)
    return None if verdict is None else verdict.reason


def test_a_sound_header_stays_the_same_object() -> None:
    sound = header()

    assert drop_unfit(sound) is sound


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sop_uid", "1.02.3"),
        ("study_uid", "1." * 31 + "12"),
        ("acquisition_date", "2020.03.04"),
        ("acquisition_date", "00000000"),
        ("acquisition_time", "10:15:00"),
        ("acquisition_time", "101500.123456"),
        ("acquisition_time", "10"),
        ("modality", "nm"),
        ("manufacturer", "GE MEDICAL SYSTEMS, NUCLEAR"),
        ("manufacturer", "Müller & Söhne (Köln) / 東芝"),
        ("model_name", "Infinia_HAWKEYE-4, e.cam+"),
        ("image_type", ("ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION CORRECTED FOR SCATTER", "")),
        ("descriptions", ("Ganzkörper\r\n\tspät", "\x1b$B4X\x1b(B")),
        ("patient_id", "12\n34"),
        ("transfer_syntax", "1.2.840.113619.5.2"),
    ],
)
def test_what_cameras_and_people_write_stays(field: str, value: Any) -> None:
    written = header(**{field: value})

    assert drop_unfit(written) == written


@pytest.mark.parametrize("value", [SWALLOWED, "Doe^Jane", "x" * 65])
@pytest.mark.parametrize(
    ("field", "keyword", "absent"),
    [
        ("sop_uid", "SOPInstanceUID", None),
        ("sop_class", "SOPClassUID", None),
        ("study_uid", "StudyInstanceUID", None),
        ("series_uid", "SeriesInstanceUID", None),
        ("frame_of_reference_uid", "FrameOfReferenceUID", None),
        ("acquisition_date", "AcquisitionDate", None),
        ("acquisition_time", "AcquisitionTime", None),
        ("content_date", "ContentDate", None),
        ("modality", "Modality", ""),
        ("manufacturer", "Manufacturer", None),
        ("model_name", "ManufacturerModelName", None),
    ],
)
def test_a_value_that_does_not_fit_is_dropped_and_named(value: str, field: str, keyword: str, absent: Any) -> None:
    found = drop_unfit(header(**{field: value}))

    assert getattr(found, field) == absent
    assert found.unfit == (keyword,)
    assert found.is_damaged == (value is SWALLOWED or keyword in {"SOPInstanceUID", "StudyInstanceUID", "SOPClassUID"})


@pytest.mark.parametrize("field", ["sop_uid", "acquisition_date", "frame_of_reference_uid", "content_date"])
def test_a_value_of_two_lines_does_not_pass_as_two_values(field: str) -> None:
    found = drop_unfit(header(**{field: "20\nNobody"}))

    assert getattr(found, field) is None


@pytest.mark.parametrize("field", TEXTS)
def test_a_text_that_swallowed_other_elements_fails_the_scan_although_it_is_not_written(field: str) -> None:
    found = drop_unfit(header(**{field: TEXTS[field]}))

    assert len(found.unfit) == 1
    assert reason_of(found) is Reason.INVALID_VALUE


def test_one_value_of_image_type_is_dropped_alone_unless_it_swallowed_others() -> None:
    kind = ("ORIGINAL", "PRIMARY", "WHOLE BODY", "Doe^Jane")

    assert drop_unfit(header(image_type=kind)).image_type == (*kind[:3], "")
    assert drop_unfit(header(image_type=(*kind[:3], SWALLOWED))).image_type == ()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"modality": "NM?" * 9, "sop_class": None}, Reason.INVALID_VALUE),
        ({"modality": "OT", "sop_class": SWALLOWED}, Reason.INVALID_VALUE),
        ({"modality": "", "sop_class": SECONDARY_CAPTURE, "image_type": (SWALLOWED,)}, Reason.INVALID_VALUE),
        ({"modality": SWALLOWED, "sop_class": CT}, Reason.MODALITY_NOT_NM),
        ({"modality": "CT", "sop_class": SWALLOWED}, Reason.MODALITY_NOT_NM),
        ({"modality": "CT", "sop_class": CT, "manufacturer": SWALLOWED}, Reason.MODALITY_NOT_NM),
        ({"modality": "NM?" * 9}, None),
        ({"manufacturer": "Doe^Jane", "model_name": "x" * 65}, None),
    ],
)
def test_an_object_whose_kind_cannot_be_read_is_not_skipped(changes: dict[str, Any], reason: Reason | None) -> None:
    assert reason_of(drop_unfit(header(**changes))) == reason


def test_a_single_view_with_an_unreadable_date_gets_no_partner() -> None:
    assert find_gap(drop_unfit(header(acquisition_date="4 March 20"))) is not None
    assert find_gap(drop_unfit(header(acquisition_date=None, manufacturer="Doe^Jane"))) is None


def longer(data: bytes, head: bytes, end: bytes) -> bytes:
    """Let the value of an element reach up to another element (explicit VR, lengths of two bytes)."""
    at = data.index(head) + len(head)
    value = at + 2
    return data[:at] + (data.index(end, value) - value).to_bytes(2, "little") + data[value:]


@pytest.mark.parametrize(
    ("head", "end", "keyword"),
    [
        (b"\x28\x00\x10\x00US", b"\x28\x00\x00\x01", "Rows"),
        (b"\x28\x00\x08\x00IS", b"\x28\x00\x11\x00", "NumberOfFrames"),
        (b"\x28\x00\x30\x00DS", b"\x28\x00\x01\x01", "PixelSpacing"),
    ],
)
def test_a_number_that_swallowed_other_elements_fails_the_scan(head: bytes, end: bytes, keyword: str) -> None:
    data = longer(encode(dataset(PixelSpacing=[2.4, 2.4])), head, end)

    assert read_fast(data) is None
    assert read(data).unfit == (keyword,)
    assert reason_of(read(data)) in {Reason.INVALID_VALUE, Reason.DECODE_FAILED}


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_sequence_that_swallowed_other_elements_fails_the_scan(syntax: UID) -> None:
    angles, code = [item(StartAngle=180), item(StartAngle=0)], item(CodeValue="399321004", CodeMeaning="Anterior")
    data = encode(dataset(DetectorInformationSequence=angles, ViewCodeSequence=[code]), syntax)
    order = "<" if syntax.is_little_endian else ">"
    first, last = (struct.pack(order + "HH", *tag) for tag in ((0x54, 0x22), (0x7FE0, 0x10)))
    value = data.index(first + b"SQ") + 12
    length = struct.pack(order + "I", data.index(last, value) - value)

    found = read(data[: value - 4] + length + data[value:])

    assert read(data).unfit == ()
    assert found.unfit == ("DetectorInformationSequence",)
    assert reason_of(found) is Reason.INVALID_VALUE


def test_the_rows_of_a_run_name_what_was_dropped_and_hold_nothing_of_it(tmp_path: Path) -> None:
    angles = [item(StartAngle=180), item(StartAngle=0)]
    for name, changes in {
        "plain": {},
        "odd": {"Manufacturer": "Doe^Jane", "AcquisitionDate": "4 March"},
        "bad": {"StudyInstanceUID": "Jane.Doe"},
    }.items():
        uids = {"StudyInstanceUID": f"1.2.{len(name)}", "SOPInstanceUID": f"1.3.{len(name)}{ord(name[0])}"}
        made = dataset(counts(), DetectorInformationSequence=angles, **uids | changes)
        (tmp_path / "archive").mkdir(exist_ok=True)
        (tmp_path / "archive" / name).write_bytes(encode(made, ExplicitVRLittleEndian))

    options = ("--backend", "fake", "--max-error-rate", "1", "--quiet")
    assert bsbatch("run", tmp_path / "archive", "--out", tmp_path / "out", *options).returncode == 0

    rows = {row["source"]: row for row in objects(tmp_path / "out")}
    assert [rows[name]["unfit_values"] for name in ("plain", "odd", "bad")] == [
        None,
        ["AcquisitionDate", "Manufacturer"],
        ["StudyInstanceUID"],
    ]
    assert (rows["odd"]["manufacturer"], rows["odd"]["acquisition_date"], rows["odd"]["status"]) == (None, None, "used")
    assert (rows["bad"]["study_uid"], rows["bad"]["reason"]) == (None, "invalid_value")
    scored = {row["source_anterior"]: row for row in results(tmp_path / "out")}
    assert ["values_dropped" in scored[name]["qc_flags"] for name in ("plain", "odd")] == [False, True]
    assert scored["odd"]["p_metastasis"] == scored["plain"]["p_metastasis"]
    assert (scored["bad"]["status"], rows["bad"]["status"]) == ("failed", Status.FAILED)
