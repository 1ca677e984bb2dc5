import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.sequence import Sequence
from pydicom.uid import (
    HEVCMP51,
    HTJ2K,
    JPEG2000,
    MPEG2MPML,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from tests.dicom.objects import COLUMNS, NM, ROWS, counts, dataset, encode, item, read, ref, without_preamble

from bsbatch.dicom.headers import fast
from bsbatch.dicom.headers.read import read_header
from bsbatch.dicom.selection import may_be_scan
from bsbatch.errors import ItemError
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import Header, SettledObject, UnitOutcome
from bsbatch.store.tables import OBJECTS, object_rows, to_table

VALUE_BYTES = 2 * ROWS * COLUMNS * 2
UNREADABLE = {Reason.NOT_DICOM, Reason.DICOMDIR, Reason.DECODE_FAILED}
FILE = encode(dataset(DetectorInformationSequence=Sequence([item(StartAngle=180), item(StartAngle=0)])))
FILES = [FILE, encode(dataset(), ImplicitVRLittleEndian), encode(dataset(), RLELossless)]


def refusal(data: bytes) -> ItemError:
    with pytest.raises(ItemError) as caught:
        read(data)
    return caught.value


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_every_native_transfer_syntax_gives_the_same_header(syntax: UID) -> None:
    found = read(encode(dataset(PixelSpacing=[2.4, 2.5], ScanLength=1900, AcquisitionTime="101500.5"), syntax))

    assert found.transfer_syntax == syntax
    assert (found.sop_uid, found.sop_class, found.modality) == ("1.2.3.4.5", NM, "NM")
    assert (found.study_uid, found.series_uid) == ("1.2.3", "1.2.3.4")
    assert found.image_type == ("ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION")
    assert (found.frames, found.rows, found.columns) == (2, ROWS, COLUMNS)
    assert (found.bits_allocated, found.bits_stored, found.is_signed) == (16, 16, False)
    assert (found.pixel_spacing, found.scan_length) == ((2.4, 2.5), 1900.0)
    assert found.acquisition_time == "101500.5"
    assert found.detector_vector == (1, 2)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_the_offset_and_length_of_native_pixels_are_read(syntax: UID) -> None:
    data = encode(dataset(), syntax)

    pixels = read(data).pixel_data

    assert pixels is not None
    assert (pixels.length, pixels.is_complete) == (VALUE_BYTES, True)
    order = ">u2" if syntax == ExplicitVRBigEndian else "<u2"
    assert data[pixels.offset : pixels.offset + VALUE_BYTES] == counts(kind=order).tobytes()


def test_the_pixels_of_a_deflated_object_have_their_offset_in_the_inflated_data_set() -> None:
    pixels = read(encode(dataset(), DeflatedExplicitVRLittleEndian)).pixel_data
    plain = encode(dataset())
    start = plain.index(b"\x08\x00\x08\x00")

    assert pixels is not None
    assert (pixels.offset, pixels.length) == (plain.index(counts().tobytes()) - start, VALUE_BYTES)


@pytest.mark.parametrize("is_implicit", [True, False])
def test_a_file_without_preamble_is_read(is_implicit: bool) -> None:
    found = read(without_preamble(dataset(), is_implicit=is_implicit))

    assert (found.sop_uid, found.modality, found.frames) == ("1.2.3.4.5", "NM", 2)
    assert found.pixel_data is not None
    assert found.pixel_data.length == VALUE_BYTES


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_private_labels_of_ge_genie_are_read(syntax: UID) -> None:
    source = dataset()
    block = source.private_block(0x0011, "GEMS_GENIE_1", create=True)
    block.add_new(0x12, "LO", ["ANT", "POST"])
    block.add_new(0x30, "LO", ["WB_E", "WB_F"])

    assert read(encode(source, syntax)).private_labels == (("ANT", "POST"), ("WB_E", "WB_F"))


@pytest.mark.parametrize("creator", ["SOMEBODY ELSE", None])
def test_the_same_elements_of_another_private_creator_are_ignored(creator: str | None) -> None:
    source = dataset()
    if creator is not None:
        source.add_new(0x00110010, "LO", creator)
    source.add_new(0x00111012, "LO", ["ANT", "POST"])

    assert read(encode(source)).private_labels == ()


def test_vectors_windows_and_detectors_are_read_out_of_their_sequences() -> None:
    window = item(EnergyWindowRangeSequence=[item(EnergyWindowLowerLimit=126, EnergyWindowUpperLimit=154)])
    code = item(CodeValue="399321004", CodingSchemeDesignator="SCT", CodeMeaning="Anterior projection")
    source = dataset(
        EnergyWindowVector=[1, 1],
        EnergyWindowInformationSequence=[window, item()],
        DetectorInformationSequence=[item(StartAngle=180, ViewCodeSequence=[code]), item(StartAngle=360)],
        ViewCodeSequence=[item(CodeValue="PO", CodeMeaning="Posterior")],
    )

    found = read(encode(source))

    assert found.energy_window_vector == (1, 1)
    assert found.energy_windows == (((126.0, 154.0),), ())
    assert [detector.start_angle for detector in found.detectors] == [180.0, 360.0]
    assert found.detectors[0].view_codes == (("SCT", "399321004"),)
    assert found.detectors[0].view_texts == ("Anterior projection", "399321004")
    assert found.view_texts == ("Posterior", "PO")


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")  # lower case, as in real archives
def test_texts_counts_and_rescaling_are_read() -> None:
    source = dataset(
        ViewPosition=["Anterior", "Posterior"],
        ImageID="WHOLE BODY_E",
        SeriesDescription="WholeBody",
        CountsAccumulated=1234,
        RescaleSlope=2,
        RescaleIntercept=-3,
        LossyImageCompression="01",
    )

    found = read(encode(source))

    assert found.view_position == ("Anterior", "Posterior")
    assert (found.image_ids, found.descriptions) == (("WHOLE BODY_E",), ("WholeBody",))
    assert (found.counts_accumulated, found.rescale, found.is_lossy) == (1234, (2.0, -3.0), True)


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
@pytest.mark.parametrize(("kind", "value", "limit"), [("<u2", 65535, 65000), ("<i2", -1, -536)])
def test_padding_is_read_as_unsigned_whatever_its_representation(
    syntax: UID, kind: str, value: int, limit: int
) -> None:
    both = dataset(counts(kind=kind), PixelPaddingValue=value, PixelPaddingRangeLimit=limit)
    one = dataset(counts(kind=kind), PixelPaddingValue=value)

    assert read(encode(both, syntax)).padding == (65535, 65000)
    assert read(encode(one, syntax)).padding == (65535,)


def test_a_range_limit_without_a_padding_value_is_no_padding() -> None:
    assert read(encode(dataset(PixelPaddingRangeLimit=5))).padding == ()


@pytest.mark.parametrize(("high_bit", "expected"), [(15, 15), (11, 11), (0, 0), (None, 11)])
def test_the_high_bit_is_read_and_follows_bits_stored_if_absent(high_bit: int | None, expected: int) -> None:
    assert read(encode(dataset(BitsStored=12, HighBit=high_bit))).high_bit == expected


@pytest.mark.parametrize(("items", "is_present"), [([item(ModalityLUTType="US")], True), ([item()], True), ([], False)])
def test_a_modality_lut_is_present_if_its_sequence_has_an_item(items: list[Any], is_present: bool) -> None:
    assert read(encode(dataset(ModalityLUTSequence=items))).has_modality_lut is is_present


@pytest.mark.parametrize(
    ("syntax", "attribute", "expected"),
    [
        *(
            (lossless, None, False)
            for lossless in (ExplicitVRLittleEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless)
        ),
        (ExplicitVRLittleEndian, "01", True),
        (JPEGLSNearLossless, None, True),
        *(
            (always, "00", True)
            for always in (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, MPEG2MPML, HEVCMP51)
        ),
        *((either, "00", False) for either in (JPEG2000, HTJ2K)),
        *((either, None, True) for either in (JPEG2000, HTJ2K)),
    ],
)
def test_loss_follows_from_the_transfer_syntax_and_from_its_attribute(
    syntax: UID, attribute: str | None, expected: bool
) -> None:
    made, buffer = dataset(LossyImageCompression=attribute), BytesIO()
    if syntax.is_encapsulated:
        made.compress(RLELossless, generate_instance_uid=False)
    made.file_meta.TransferSyntaxUID = syntax
    made.save_as(buffer, enforce_file_format=True)

    assert read(buffer.getvalue()).is_lossy is expected


def test_absent_attributes_have_the_defaults_of_the_standard() -> None:
    gone: dict[str, Any] = {element.keyword: None for element in dataset()}
    bare = dataset(**gone | {"Modality": "NM", "BitsAllocated": 16, "PixelData": counts().tobytes()})

    found = read(encode(bare))

    assert (found.study_uid, found.series_uid, found.acquisition_time) == (None, None, None)
    assert (found.frames, found.rows, found.columns) == (1, 0, 0)
    assert (found.samples_per_pixel, found.photometric, found.bits_stored) == (1, "MONOCHROME2", 16)
    assert (found.rescale, found.pixel_spacing, found.counts_accumulated) == ((1.0, 0.0), None, None)
    assert (found.image_type, found.detectors, found.energy_windows) == ((), (), ())


def test_an_emptied_dataset_takes_class_and_uid_from_the_file_meta() -> None:
    found = read(encode(dataset(SOPClassUID=None, SOPInstanceUID=None, Modality=None)))

    assert (found.sop_class, found.sop_uid, found.modality) == (NM, "1.2.3.4.5", "")


def test_an_object_without_pixels_has_no_pixel_data() -> None:
    assert read(encode(dataset(PixelData=None))).pixel_data is None


@pytest.mark.parametrize(
    ("keyword", "field", "absent"),
    [
        ("StartAngle", "detectors", None),
        ("RescaleSlope", "rescale", (1.0, 0.0)),
        ("RescaleIntercept", "rescale", (1.0, 0.0)),
        ("ScanLength", "scan_length", None),
        ("PixelSpacing", "pixel_spacing", None),
    ],
)
@pytest.mark.parametrize("text", [b"nan ", b"inf "])
@pytest.mark.filterwarnings("ignore")
def test_a_number_that_is_not_finite_counts_as_absent(keyword: str, field: str, absent: Any, text: bytes) -> None:
    value: Any = ["88.5", "88.5"] if keyword == "PixelSpacing" else "88.5"
    attributes = {keyword: value, "DetectorInformationSequence": [item(StartAngle="88.5")]}

    found = read(encode(dataset(**attributes)).replace(b"88.5", text))

    assert (found.detectors[0].start_angle if keyword == "StartAngle" else getattr(found, field)) == absent


def test_a_dicomdir_is_refused_as_one() -> None:
    path = Path(str(get_testdata_file("DICOMDIR", download=False)))

    assert refusal(path.read_bytes()).reason == Reason.DICOMDIR


@pytest.mark.parametrize(
    "data",
    [b"", b"\x08", b"hello, this is no DICOM file", b"\x89PNG\r\n\x1a\n" + bytes(200), b"PK\x03\x04" + bytes(500)],
)
def test_a_file_of_another_format_is_refused_as_not_dicom(data: bytes) -> None:
    assert refusal(data).reason == Reason.NOT_DICOM


@pytest.mark.parametrize("data", [bytes(128) + b"DICM", b"\x08\x00\x05\x00" + b"\xff" * 60])
def test_a_header_without_attributes_is_damaged(data: bytes) -> None:
    assert refusal(data).reason == Reason.DECODE_FAILED


@pytest.mark.parametrize("missing", [1, 100, VALUE_BYTES])
def test_native_pixels_that_are_cut_off_are_incomplete(missing: int) -> None:
    pixels = read(encode(dataset())[:-missing]).pixel_data

    assert pixels is not None
    assert not pixels.is_complete


@pytest.mark.parametrize("missing", [1, 8, 9, 100])
def test_fragments_that_are_cut_off_are_incomplete(missing: int) -> None:
    data = encode(dataset(), RLELossless)

    whole, cut = read(data).pixel_data, read(data[:-missing]).pixel_data

    assert whole is not None
    assert cut is not None
    assert (whole.length, whole.is_complete, cut.is_complete) == (-1, True, False)


def test_endless_fragments_are_not_followed_for_ever() -> None:
    empty_items = struct.pack("<HHI", 0xFFFE, 0xE000, 0) * 70_000
    data = encode(dataset(), RLELossless)
    start = read(data).pixel_data
    assert start is not None

    pixels = read(data[: start.offset] + empty_items).pixel_data

    assert pixels is not None


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("sound_reads", [0, 1])
def test_a_failing_disk_is_not_reported_as_a_damaged_header(syntax: UID, sound_reads: int) -> None:
    class Broken(BytesIO):
        reads = 0

        def read(self, size: int | None = -1, /) -> bytes:
            self.reads += 1
            if self.reads > sound_reads:
                raise OSError(5, "Input/output error")
            return super().read(size)

    source = dataset(ImageComments="x" * 9000)  # longer than the first read

    with pytest.raises(OSError, match="Input/output"):
        read_header(Broken(encode(source, syntax)), 10**6)


@pytest.mark.filterwarnings("ignore")
def test_a_sequence_without_its_items_is_a_damaged_header_and_no_failing_disk() -> None:
    start = FILE.index(b"\x54\x00\x22\x00SQ")
    endless = FILE[: start + 8] + b"\xff\xff\xff\xff"

    found = outcome(endless)

    assert isinstance(found, ItemError)
    assert found.reason == Reason.DECODE_FAILED


def test_no_message_holds_the_patients_name() -> None:
    messages = []
    for cut in range(0, len(FILE), 7):
        try:
            read(FILE[:cut])
        except ItemError as error:
            messages.append(error.message)

    assert messages
    assert not any("Secret" in message for message in messages)


def outcome(data: bytes) -> Header | ItemError:
    try:
        return read(data)
    except ItemError as error:
        return error


def fits_the_table(found: Header) -> bool:
    settled = SettledObject(ref(), found, Verdict.of(Stage.HEADER, Reason.PET))
    return len(to_table(OBJECTS, object_rows(UnitOutcome((), (settled,))), "0")) == 1


@pytest.mark.filterwarnings("ignore")
@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=300), st.sampled_from([b"", bytes(128) + b"DICM", b"\x08\x00\x05\x00"]))
def test_arbitrary_bytes_give_a_header_or_an_item_error(data: bytes, start: bytes) -> None:
    found = outcome(start + data)

    assert isinstance(found, Header) or found.reason in UNREADABLE


@pytest.mark.filterwarnings("ignore")
@settings(deadline=None, max_examples=250)
@given(st.data())
def test_a_mutated_object_gives_a_header_that_fits_the_table_or_an_item_error(draws: st.DataObject) -> None:
    data = bytearray(draws.draw(st.sampled_from(FILES)))
    for _ in range(draws.draw(st.integers(1, 4))):
        position = draws.draw(st.integers(132, len(data) - 1))
        what = draws.draw(st.sampled_from(["flip", "cut", "insert", "delete"]))
        if what == "flip":
            data[position] ^= draws.draw(st.integers(1, 255))
        elif what == "cut":
            del data[max(position, 133) :]
            break
        elif what == "insert":
            data[position:position] = draws.draw(st.binary(min_size=1, max_size=8))
        else:
            del data[position : position + draws.draw(st.integers(1, 8))]
        if len(data) < 140:
            break

    found = outcome(bytes(data))

    assert fits_the_table(found) if isinstance(found, Header) else found.reason in UNREADABLE


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("frames", [b"99999999999 ", b"-3          ", b"2147483648  ", b"-2147483649 "])
def test_a_number_of_frames_beyond_its_range_still_fits_the_table(frames: bytes) -> None:
    data = encode(dataset(NumberOfFrames="123456789012")).replace(b"123456789012", frames)

    assert fits_the_table(read(data))


TWO_GROUPS = "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce"


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ({"PatientID": "1", "PatientName": "Doe^Jane"}, None),
        ({"PatientName": "Doe^Jane^^"}, "Doe^Jane^^"),
        ({"PatientName": ""}, None),
        ({"PatientName": None}, None),
        ({"PatientName": TWO_GROUPS, "SpecificCharacterSet": "ISO_IR 192"}, TWO_GROUPS),
        ({"PatientName": "Doe^Jane=Doe^J"}, "Doe^Jane=Doe^J"),
        ({"PatientName": ["Doe^Jane", "Doe^John"]}, "Doe^Jane"),
    ],
)
def test_a_name_is_read_only_without_a_patient_id(attributes: dict[str, Any], name: str | None) -> None:
    assert read(encode(dataset(**attributes))).patient_name == name


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"AcquisitionDate": "20200102", "ContentDate": "20200103"}, ("20200102", None, None)),
        ({"ContentDate": "20200103"}, (None, None, "20200103")),
        ({"AcquisitionDateTime": "20200102101500+0100", "ContentDate": "20200103"}, ("20200102", "101500", None)),
        ({"AcquisitionDate": "20200101", "AcquisitionDateTime": "20200102101500"}, ("20200101", "101500", None)),
    ],
)
def test_dates_of_acquisition_come_before_the_date_of_the_content(
    attributes: dict[str, Any], expected: tuple[str | None, ...]
) -> None:
    found = read(encode(dataset(**attributes)))

    assert (found.acquisition_date, found.acquisition_time, found.content_date) == expected
    assert found.acquisition_datetime == attributes.get("AcquisitionDateTime")


class Counted(BytesIO):
    taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


@pytest.mark.parametrize(
    ("longer", "taken"), [(0, 0), (20_000, (1 << 16) - fast.HEAD), (200_000, (1 << 18) - fast.HEAD)]
)
def test_of_a_longer_header_no_more_is_read_than_the_next_step(longer: int, taken: int) -> None:
    dataset_with_more = dataset(counts(2).repeat(40, axis=1).repeat(40, axis=2))
    block = dataset_with_more.private_block(0x0009, "TEST", create=True)
    for number in range(longer // 10_000):
        block.add_new(number, "OB", bytes(10_000))
    data = encode(dataset_with_more)
    stream = Counted(data)
    stream.seek(fast.HEAD)

    found = fast.parse(stream, data[: fast.HEAD], len(data), may_be_scan)

    assert found == read(data)
    assert stream.taken == min(taken, len(data) - fast.HEAD)
