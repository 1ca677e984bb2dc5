"""Files whose meta information lies, or that begin in another way than PS3.10 says."""

import struct
import time
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)
from tests.dicom.objects import NM, SECONDARY_CAPTURE, counts, dataset, encode, item, read, without_preamble

from bsbatch.dicom.encoding import find_first_element
from bsbatch.dicom.part10 import _Bounded, _Inflating
from bsbatch.dicom.pixels import read_frames
from bsbatch.dicom.selection import decline, find_defect
from bsbatch.errors import ItemError
from bsbatch.host import limits
from bsbatch.reasons import Reason, Status, status_of

pytestmark = pytest.mark.filterwarnings("ignore")

NATIVE = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
CT = "1.2.840.10008.5.1.4.1.1.2"
SOURCE = dataset(PixelSpacing=[2.4, 2.4], DetectorInformationSequence=[item(StartAngle=180), item(StartAngle=0)])


def claim(data: bytes, syntax: str) -> bytes:
    """Replace the transfer syntax in the meta information of a file, and leave its data set as it is."""
    at = data.index(b"\x02\x00\x10\x00UI") + 6
    (length,) = struct.unpack_from("<H", data, at)
    value = syntax.encode() + b"\0" * (len(syntax) % 2)
    return data[:at] + struct.pack("<H", len(value)) + value + data[at + 2 + length :]


def pixels(data: bytes) -> Any:
    return np.stack([view.stored for view in read_frames(BytesIO(data), read(data), (1, 2))])


def start_of_dataset(data: bytes) -> int:
    return min(at for at in (data.find(b"\x08\x00\x08\x00"), data.find(b"\x00\x08\x00\x08")) if at > 0)


def fate(data: bytes) -> tuple[Status, Reason]:
    """Status and reason of an object that is not used."""
    try:
        header = read(data)
    except ItemError as error:
        return status_of(Reason(error.reason)), Reason(error.reason)
    verdict = decline(header) or find_defect(header, 1 << 24)
    assert verdict is not None
    return verdict.status, verdict.reason


@pytest.mark.parametrize("claimed", [*NATIVE, DeflatedExplicitVRLittleEndian, RLELossless, JPEG2000Lossless, None])
@pytest.mark.parametrize("true", NATIVE)
def test_a_native_object_is_read_as_it_is_whatever_the_meta_information_claims(true: UID, claimed: UID | None) -> None:
    data = encode(SOURCE, true)
    lying = data.replace(b"\x02\x00\x10\x00UI", b"\x02\x00\x17\x00UI") if claimed is None else claim(data, claimed)

    found = read(lying)

    shift = len(lying) - len(data)
    sound = read(data)
    assert sound.pixel_data is not None
    moved = sound.pixel_data.__class__(sound.pixel_data.offset + shift, sound.pixel_data.length, is_complete=True)
    assert found == sound._replace(pixel_data=moved)
    assert np.array_equal(pixels(lying), counts())


def test_fragments_in_an_implicit_data_set_are_found() -> None:
    compressed = encode(SOURCE, RLELossless)
    start = compressed.index(b"\xe0\x7f\x10\x00")
    implicit = encode(dataset(PixelData=None), ImplicitVRLittleEndian)

    lying = claim(implicit + b"\xe0\x7f\x10\x00" + compressed[start + 8 :], RLELossless)

    assert read(lying).transfer_syntax == RLELossless
    assert np.array_equal(pixels(lying), counts())


@pytest.mark.parametrize("claimed", [*NATIVE[:2], JPEGBaseline8Bit])
def test_pixels_of_another_kind_than_the_transfer_syntax_says_are_a_mismatch(claimed: UID) -> None:
    fragments, short = encode(SOURCE, RLELossless), encode(dataset(PixelData=counts()[:1].tobytes()))

    lying = claim(short if claimed.is_encapsulated else fragments, claimed)

    assert fate(lying) == (Status.FAILED, Reason.TRANSFER_SYNTAX_MISMATCH)


def test_pixels_of_a_private_transfer_syntax_are_not_taken_for_native_ones() -> None:
    private = claim(encode(SOURCE), "1.2.840.113619.5.2")

    assert read(private).transfer_syntax == "1.2.840.113619.5.2"
    with pytest.raises(ItemError):
        pixels(private)


@pytest.mark.parametrize("syntax", NATIVE)
def test_a_file_that_begins_with_its_prefix_is_read(syntax: UID) -> None:
    data = encode(SOURCE, syntax)[128:]

    assert np.array_equal(pixels(data), counts())


def test_a_file_that_begins_with_its_meta_information_is_read() -> None:
    assert np.array_equal(pixels(encode(SOURCE)[132:]), counts())


@pytest.mark.parametrize("is_implicit", [True, False])
def test_the_prefix_by_chance_in_a_bare_data_set_is_a_part_of_its_value(is_implicit: bool) -> None:
    source = dataset(ImageType=["ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION", "x" * 150 + "DICM"])
    data = without_preamble(source, is_implicit=is_implicit)
    shorter = data.index(b"DICM") - 128
    moved = without_preamble(
        dataset(ImageType=["ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION", "x" * (150 - shorter) + "DICM"]),
        is_implicit=is_implicit,
    )

    assert moved[128:132] == b"DICM"
    assert find_first_element(moved) == 0
    assert np.array_equal(pixels(moved), counts())


def test_the_prefix_by_chance_in_bare_meta_information_is_a_part_of_its_value() -> None:
    data = encode(SOURCE)[132:]
    at = data.index(b"\x02\x00\x12\x00UI")
    title = b"\x02\x00\x16\x00AE" + struct.pack("<H", 132 - at - 8) + b"DICM".rjust(132 - at - 8)

    moved = data[:at] + title + data[start_of_dataset(data) :]

    assert moved[128:132] == b"DICM"
    assert find_first_element(moved) == 0
    assert np.array_equal(pixels(moved), counts())


@pytest.mark.parametrize("preamble", [b"\x08\x00" * 64, b"\x00\x08" * 64, b"\x02\x00\x00\x00" * 32, b"II*\0" * 32])
def test_a_preamble_that_resembles_a_data_set_is_skipped(preamble: bytes) -> None:
    assert np.array_equal(pixels(preamble + encode(SOURCE)[128:]), counts())


@pytest.mark.parametrize(
    "before",
    [
        b"--boundary\r\nContent-Type: application/dicom\r\n\r\n",
        b"\r\n--b\r\nContent-Type: application/dicom; transfer-syntax=*\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/dicom\r\n\r\n",
        b"scan.dcm".ljust(512, b"\0"),
        b"PK\x03\x04" + bytes(34),
    ],
)
def test_a_dicom_file_inside_something_else_fails(before: bytes) -> None:
    assert fate(before + encode(SOURCE)) == (Status.FAILED, Reason.WRAPPED)


@pytest.mark.parametrize("data", [b"", bytes(4096), b"\xff" * 4096, b"DICM is a prefix", b"%PDF DICM\x02\x00"])
def test_bytes_without_a_dicom_file_are_not_dicom(data: bytes) -> None:
    assert fate(data) == (Status.SKIPPED, Reason.NOT_DICOM)


def test_an_empty_file_and_one_of_zeros_are_named_as_such() -> None:
    for data in (b"", bytes(5000)):
        with pytest.raises(ItemError, match="copy it again"):
            read(data)


def damage(data: bytes, at: int) -> tuple[bytes, ...]:
    rest = len(data) - at
    return data[:at], data[:at] + bytes(rest), data[:at] + b"\xff" * rest


@pytest.mark.parametrize("sop_class", [NM, "1.2.840.10008.5.1.4.1.1.5", SECONDARY_CAPTURE])
@pytest.mark.parametrize("syntax", [*NATIVE, RLELossless])
def test_a_bone_scan_that_is_cut_or_overwritten_anywhere_fails(sop_class: str, syntax: UID) -> None:
    data = encode(with_class(SOURCE, sop_class), syntax)
    end = data.index(b"\xe0\x7f\x10\x00" if syntax != ExplicitVRBigEndian else b"\x7f\xe0\x00\x10")
    zeroed_pixels = 12

    classes = {
        at + shift for at in (data.index(sop_class.encode()), data.rindex(sop_class.encode())) for shift in range(30)
    }
    for at in {*range(133, end, 11), *classes}:
        for broken in damage(data, at):
            assert fate(broken)[0] is Status.FAILED, at
    assert fate(data[: end + zeroed_pixels])[0] is Status.FAILED


def test_an_object_that_is_known_to_be_something_else_is_skipped_wherever_it_is_cut() -> None:
    data = encode(with_class(dataset(Modality="CT"), CT))

    for broken in damage(data, start_of_dataset(data)):
        assert fate(broken) == (Status.SKIPPED, Reason.MODALITY_NOT_NM)


@pytest.mark.parametrize("filling", [b"\0", b"\xff"])
def test_a_sequence_that_is_overwritten_up_to_the_end_of_a_large_file_is_given_up_in_time(filling: bytes) -> None:
    code = item(CodeValue="A", CodeMeaning="Anterior")
    source = dataset(DetectorInformationSequence=[item(ViewCodeSequence=[code])])
    for element in source.iterall():
        if element.VR == "SQ":
            element.is_undefined_length = True
            for each in element.value:
                each.is_undefined_length_sequence_item = True
    data = encode(source)
    started = time.process_time()

    assert fate(data[: data.index(b"Anterior")] + filling * 500_000)[0] is Status.FAILED
    assert time.process_time() - started < 5


SEQUENCE, ITEM = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff", b"\xfe\xff\x00\xe0\0\0\0\0"
TINY = b"\x11\x00\x01\x10LO\0\0"


@pytest.mark.parametrize(
    ("inserted", "words"),
    [
        (TINY * 300_000, "more elements"),
        ((SEQUENCE + ITEM[:4] + b"\xff\xff\xff\xff") * 10_000, "deeper sequences"),
        (b"\x28\x00\x30\x00UN\0\0" + struct.pack("<I", 1 << 20) + b"1\\" * (1 << 19), "a longer value"),
    ],
    ids=["elements", "sequences", "a value"],
)
def test_a_header_without_end_fails_in_time_and_says_why(inserted: bytes, words: str) -> None:
    data = encode(SOURCE)
    at = data.index(b"\x10\x00\x10\x00PN")
    started = time.process_time()

    with pytest.raises(ItemError, match=words) as caught:
        read(data[:at] + inserted + data[at:])

    assert caught.value.reason == Reason.DECODE_FAILED
    assert time.process_time() - started < 8


def test_the_records_of_a_dicomdir_are_not_read() -> None:
    data = encode(dataset(SOPClassUID="1.2.840.10008.1.3.10")).replace(
        NM.encode(), b"1.2.840.10008.1.3.10\0".ljust(26, b"\0")
    )
    at = start_of_dataset(data)
    records = b"\x04\x00\x20\x12SQ\0\0\xff\xff\xff\xff" + ITEM * 300_000

    assert fate(data[:at] + records + data[at:]) == (Status.SKIPPED, Reason.DICOMDIR)


@pytest.mark.parametrize("syntax", [*NATIVE, RLELossless])
@pytest.mark.parametrize("filling", [b"\0", b"\1\0\1\0UL\0\0", TINY, ITEM, b" ", b"\xff"])
def test_bytes_behind_the_pixels_are_not_read(syntax: UID, filling: bytes) -> None:
    data, started = encode(SOURCE, syntax) + filling * (4_000_000 // len(filling)), time.process_time()

    assert np.array_equal(pixels(data), counts())
    assert time.process_time() - started < 1


@pytest.mark.parametrize("group_length", [0, 7, 1 << 20])
def test_a_wrong_length_of_the_meta_information_does_not_matter(group_length: int) -> None:
    data = encode(SOURCE)
    at = data.index(b"UL\x04\x00") + 4

    assert np.array_equal(pixels(data[:at] + struct.pack("<I", group_length) + data[at + 4 :]), counts())


def test_the_pixels_of_a_deflated_data_set_count_as_complete_until_they_are_inflated() -> None:
    located = read(encode(SOURCE, DeflatedExplicitVRLittleEndian)).pixel_data

    assert located is not None
    assert located.is_complete


def test_a_data_set_behind_a_command_set_is_read() -> None:
    data = encode(SOURCE)
    at = start_of_dataset(data)
    command = struct.pack("<HHIIHHIH", 0, 0, 4, 10, 0, 0x0100, 2, 1)

    assert read(data[:at] + command + data[at:]).modality == "NM"


def with_class(source: Dataset, sop_class: str) -> Dataset:
    made = dataset(**{element.keyword: element.value for element in source} | {"SOPClassUID": sop_class})
    made.file_meta.MediaStorageSOPClassUID = UID(sop_class)
    return made


def inflating(size: int, most: int) -> _Inflating:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return _Inflating(BytesIO(packer.compress(bytes(range(250)) * (size // 250)) + packer.flush()), most)


@pytest.mark.parametrize("most", [1000, 200_000])
def test_a_deflated_data_set_is_inflated_up_to_its_limit(most: int) -> None:
    assert inflating(500_000, most).read(most)[-5:] == bytes(range(245, 250))
    whole = inflating(most, most)
    assert len(whole.read(most + 1)) == whole.tell() == most
    assert whole.read(1) == b""
    for first in (0, most // 2):
        beyond = inflating(500_000, most)
        beyond.seek(first)
        with pytest.raises(ItemError, match="inflated data set"):
            beyond.read(most + 1 - first)


def test_a_position_in_a_deflated_data_set_is_absolute_or_relative() -> None:
    stream = inflating(1000, 1000)
    assert (stream.seek(10), stream.read(2), stream.tell()) == (10, b"\x0a\x0b", 12)
    assert (stream.seek(3, 1), stream.read(1)) == (15, b"\x0f")
    assert (stream.seek(-11, 1), stream.read(1)) == (5, b"\x05")


def test_a_header_is_read_to_its_limit_of_bytes_and_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEADER_READ", 10)
    monkeypatch.setattr(limits, "HEADER_CALLS", 3)
    stream = _Bounded(BytesIO(bytes(100)))
    assert [len(stream.read(size)) for size in (4, 6, 0)] == [4, 6, 0]
    with pytest.raises(ItemError, match="more elements"):
        stream.read(0)
    with pytest.raises(ItemError, match="more elements"):
        _Bounded(BytesIO(bytes(100))).read(11)
    assert _Bounded(BytesIO(bytes(5))).read(11) == bytes(5)
