"""Field cases of files: meta information that lies, wrappers, cuts and overwritten parts. All in one archive."""

import io
import struct

import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)
from tests.archives import ct_slice
from tests.end_to_end.field_cases import (
    Found,
    Make,
    archive_fixture,
    assert_same_row,
    counts,
    encode,
    register,
    scan,
    split,
)

CASES: dict[str, Make] = {}
case = register(CASES)


found = archive_fixture(CASES)


@case
def plain() -> FileDataset:
    return scan("plain", counts(1))


@case
def without_preamble() -> bytes:
    return encode(scan("preamble", counts(1)))[128:]


@case
def prefix_inside_a_value() -> bytes:
    return with_prefix_inside("<HHI", ImplicitVRLittleEndian)


@case
def prefix_inside_an_explicit_value() -> bytes:
    return with_prefix_inside("<HH2sH", ExplicitVRLittleEndian)


@case
def prefix_inside_a_value_of_big_endian() -> bytes:
    return with_prefix_inside(">HH2sH", ExplicitVRBigEndian)


def with_prefix_inside(form: str, syntax: UID) -> bytes:
    """A bare data set that begins with an Image Type, which has ``DICM`` at byte 128."""
    _, body = split(encode(scan(f"inside {form}", counts(1)), syntax))
    rest = body[body.index(struct.pack(form[:3], 0x0008, 0x0016)) :]
    value = b"ORIGINAL\\PRIMARY\\WHOLE BODY\\EMISSION\\".ljust(120) + b"DICM\\X"
    vr = [b"CS"] if "s" in form else []
    return struct.pack(form, 0x0008, 0x0008, *vr, len(value)) + value + rest


@case
def explicit_said_implicit() -> bytes:
    return as_another("explicit", ExplicitVRLittleEndian, ImplicitVRLittleEndian)


@case
def implicit_said_explicit() -> bytes:
    return as_another("implicit", ImplicitVRLittleEndian, ExplicitVRLittleEndian)


@case
def little_said_big() -> bytes:
    return as_another("little", ExplicitVRBigEndian, ExplicitVRLittleEndian)


@case
def big_said_little() -> bytes:
    return as_another("big", ExplicitVRLittleEndian, ExplicitVRBigEndian)


@case
def explicit_said_deflated() -> bytes:
    return as_another("deflated", DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian)


@case
def without_preamble_in_implicit() -> bytes:
    return encode(scan("implicit preamble", counts(1)), ImplicitVRLittleEndian)[128:]


@case
def bare_explicit() -> bytes:
    return split(encode(scan("bare explicit", counts(1))))[1]


@case
def bare_big_endian() -> bytes:
    return split(encode(scan("bare big", counts(1)), ExplicitVRBigEndian))[1]


@case
def length_of_meta_wrong() -> bytes:
    data = encode(scan("length", counts(1)))
    return data[:140] + struct.pack("<I", 9999) + data[144:]


@case
def rle_said_native() -> bytes:
    dataset = scan("fragments", counts(1))
    meta, _ = split(encode(scan("fragments", counts(1))))
    dataset.compress(RLELossless, counts(1), encoding_plugin="pydicom", generate_instance_uid=False)
    return meta + split(encode(dataset, RLELossless))[1]


def test_fragments_under_a_native_syntax_fail_with_their_own_reason(found: dict[str, Found]) -> None:
    assert found["rle_said_native"].files == {"a": ("failed", "transfer_syntax_mismatch")}


@case
def native_said_jpeg2000() -> bytes:
    dataset = scan("jpeg2000", counts(1))
    _, body = split(encode(dataset))
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    return meta_of(dataset) + body


def as_another(patient: str, claimed: UID, true: UID) -> bytes:
    """Join meta information that names one transfer syntax and a data set in another."""
    meta, _ = split(encode(scan(patient, counts(1)), claimed))
    return meta + split(encode(scan(patient, counts(1)), true))[1]


def meta_of(dataset: FileDataset) -> bytes:
    buffer = io.BytesIO()
    FileDataset("", {}, file_meta=dataset.file_meta, preamble=b"\0" * 128).save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@case
def cut_behind_meta() -> bytes:
    return split(encode(scan("cut", counts(1))))[0]


@case
def cut_inside_meta() -> bytes:
    return encode(scan("cut inside", counts(1)))[:200]


@case
def zeros_behind_meta() -> bytes:
    meta, body = split(encode(scan("zeroed", counts(1))))
    return meta + bytes(len(body))


@case
def zeros_inside_header() -> bytes:
    data = encode(scan("zeros inside", counts(1)))
    start = data.index(struct.pack("<HH", 0x0018, 0x0070))
    return data[:start] + bytes(len(data) - start)


@case
def cut_inside_matrix() -> bytes:
    data = encode(scan("cut inside matrix", counts(1)))
    return data[: data.index(struct.pack("<HH", 0x0028, 0x0011)) + 9]


@case
def prefix_alone() -> bytes:
    return encode(scan("prefix", counts(1)))[:132]


@case
def cut_inside_pixels() -> bytes:
    return encode(scan("cut inside pixels", counts(1)))[:-1000]


def test_a_scan_cut_inside_its_pixels_is_failed_as_truncated(found: dict[str, Found]) -> None:
    assert found["cut_inside_pixels"].files == {"a": ("failed", "truncated_pixel_data")}


@case
def zeros_instead_of_pixels() -> bytes:
    data = encode(scan("zeros inside pixels", counts(1)))
    return data[: -counts(1).nbytes] + bytes(counts(1).nbytes)


def test_zeros_instead_of_pixels_are_failed_as_a_scan_without_counts(found: dict[str, Found]) -> None:
    assert found["zeros_instead_of_pixels"].files == {"a": ("failed", "all_zero")}


@case
def slice_cut_behind_meta() -> bytes:
    return split(encode(ct_slice(1)))[0]


@case
def part_of_a_message() -> bytes:
    lead = b"\r\n--boundary\r\nContent-Type: application/dicom\r\n\r\n"
    return lead + encode(scan("part", counts(1))) + b"\r\n--boundary--\r\n"


@case
def answer_of_a_server() -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom\r\n\r\n" + encode(scan("answer", counts(1)))


DAMAGED = (
    "prefix_alone",
    "cut_inside_meta",
    "cut_behind_meta",
    "zeros_behind_meta",
    "zeros_inside_header",
    "cut_inside_matrix",
)


@pytest.mark.parametrize("name", DAMAGED)
def test_a_scan_cut_or_zeroed_before_its_image_is_failed(found: dict[str, Found], name: str) -> None:
    assert found[name].files == {"a": ("failed", "decode_failed")}


def test_a_slice_cut_behind_its_meta_information_is_skipped(found: dict[str, Found]) -> None:
    assert found["slice_cut_behind_meta"].files == {"a": ("skipped", "modality_not_nm")}


@pytest.mark.parametrize("name", ["part_of_a_message", "answer_of_a_server"])
def test_a_scan_inside_something_else_is_failed_as_wrapped(found: dict[str, Found], name: str) -> None:
    assert found[name].files == {"a": ("failed", "wrapped")}


SAME = (
    "without_preamble",
    "without_preamble_in_implicit",
    "prefix_inside_a_value",
    "prefix_inside_an_explicit_value",
    "prefix_inside_a_value_of_big_endian",
    "bare_explicit",
    "bare_big_endian",
    "length_of_meta_wrong",
    "explicit_said_implicit",
    "implicit_said_explicit",
    "little_said_big",
    "big_said_little",
    "explicit_said_deflated",
    "native_said_jpeg2000",
)


@pytest.mark.parametrize("name", SAME)
def test_a_file_in_another_form_than_it_claims_is_read_as_it_is(found: dict[str, Found], name: str) -> None:
    assert_same_row(found[name], found["plain"])
