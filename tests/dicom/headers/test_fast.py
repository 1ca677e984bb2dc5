"""The fast reader returns the same header as pydicom, or None."""

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import data_store
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)
from tests.dicom.objects import CT, dataset, encode, item, without_preamble

from bsbatch.dicom.encoding import AFTER_PREFIX
from bsbatch.dicom.headers import fast, with_pydicom
from bsbatch.dicom.headers.attributes import IsWanted
from bsbatch.dicom.selection import may_be_scan
from bsbatch.errors import ItemError
from bsbatch.records import Header

pytestmark = pytest.mark.filterwarnings("ignore")

PACKAGES = [Path(pydicom.__file__).parent / "data", Path(data_store.__file__).parent / "data"]
PLAIN = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]


def everything(_modality: str, _sop_class: str) -> bool:
    return True


READINGS = [everything, may_be_scan]


def read_fast(data: bytes, is_wanted: IsWanted = everything) -> Header | None:
    stream = BytesIO(data)
    head = stream.read(fast.HEAD)
    return fast.parse(stream, head, len(data), is_wanted) if head[128:132] == b"DICM" else None


def agrees(data: bytes, is_wanted: IsWanted = everything) -> bool:
    """Return True if the fast reader declines, or if pydicom returns the same values of the same types."""
    found = read_fast(data, is_wanted)
    if found is None:
        return True
    try:
        header, is_directory = with_pydicom.parse(BytesIO(data), AFTER_PREFIX, len(data), is_wanted)
    except ItemError:
        return False
    return (repr(header), is_directory) == (repr(found), False)


def full(*, undefined: bool = False, **attributes: Any) -> Dataset:
    """An object with every attribute of a header; with ``undefined``, its sequences are of undefined length."""
    window = item(EnergyWindowRangeSequence=[item(EnergyWindowLowerLimit="126.5", EnergyWindowUpperLimit="154")])
    code = item(CodeValue="399321004", CodingSchemeDesignator="SCT", CodeMeaning="Anterior projection")
    older = item(EnergyWindowCenterline="140.5", EnergyWindowTotalWidth="28.1")
    nuclide = item(CodeValue="C-163A8", CodingSchemeDesignator="SRT", CodeMeaning="^99m^Technetium")
    drug = item(
        Radiopharmaceutical="Tc-99m MDP",
        RadiopharmaceuticalStartTime="090000",
        RadiopharmaceuticalStartDateTime="20200304090000",
        RadionuclideCodeSequence=[nuclide],
        RadiopharmaceuticalCodeSequence=[item(CodeValue="C-B1218", CodeMeaning="medronate")],
    )
    fields: dict[str, Any] = {
        "EnergyWindowVector": [1, 1],
        "EnergyWindowInformationSequence": [window, item(), item(EnergyWindowRangeSequence=[older])],
        "RadiopharmaceuticalInformationSequence": [drug, item()],
        "WholeBodyTechnique": "1PS",
        "Radionuclide": "99mTc",
        "EnergyWindowCenterline": "140",
        "DetectorInformationSequence": [item(StartAngle=180, ViewCodeSequence=[code]), item(StartAngle="-1e1")],
        "ViewCodeSequence": [item(CodeValue="PO", CodeMeaning="Posterior")],
        "ReferencedStudySequence": [item(ReferencedSOPInstanceUID="1.2", PurposeOfReferenceCodeSequence=[code])],
        "PixelSpacing": ["2.4", ".5E+1"],
        "ScanLength": 1900,
        "CountsAccumulated": 123456,
        "AccessionNumber": "A12",
        "StudyDate": "20200304",
        "StudyTime": "100000",
        "StudyDescription": "Bone scan",
        "InstitutionName": "Nowhere",
        "RequestingService": "Urology",
        "PatientBirthDate": "19480305",
        "PatientSex": "M",
        "PatientAge": "071Y",
        "Manufacturer": "Nobody",
        "SeriesDescription": "WB ANT",
        "ImageID": "WB_E",
        "ViewPosition": ["A", "B"],
        "RescaleSlope": "2",
        "RescaleIntercept": "-3",
        "AcquisitionTime": "101500.5",
        "FrameOfReferenceUID": "1.2.3",
        "PixelPaddingValue": 65535,
        "PixelPaddingRangeLimit": 65530,
        "ModalityLUTSequence": [item(LUTDescriptor=[3, 0, 16], ModalityLUTType="US", LUTData=b"\0\0\1\0\4\0")],
    }
    made = dataset(**fields | attributes)
    block = made.private_block(0x0011, "GEMS_GENIE_1", create=True)
    block.add_new(0x12, "LO", ["ANT", "POST"])
    block.add_new(0x30, "LO", ["WB_E", "WB_F"])
    for element in made.iterall() if undefined else ():
        if element.VR == "SQ":
            element.is_undefined_length = True
            for each in element.value:
                each.is_undefined_length_sequence_item = True
    return made


FILES = [
    encode(full(undefined=undefined, SpecificCharacterSet=names), syntax)
    for undefined in (False, True)
    for names in (None, "ISO_IR 100")
    for syntax in PLAIN
]
FILES += [encode(full(), RLELossless), encode(full(Modality="CT", SOPClassUID=CT))]


@pytest.mark.parametrize("is_wanted", READINGS)
@pytest.mark.parametrize("folder", PACKAGES, ids=["pydicom", "pydicom-data"])
def test_both_agree_on_every_real_file(folder: Path, is_wanted: IsWanted) -> None:
    files = [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]

    assert all(agrees(data, is_wanted) for data in files)
    assert sum(read_fast(data, is_wanted) is not None for data in files) > len(files) * 0.4


@pytest.mark.parametrize("is_wanted", READINGS)
def test_both_agree_on_every_phantom_and_other_object(phantoms: Path, is_wanted: IsWanted) -> None:
    files = [path.read_bytes() for path in sorted((phantoms / "archive").rglob("*")) if path.is_file()]

    assert all(agrees(data, is_wanted) for data in files)
    assert sum(read_fast(data, is_wanted) is not None for data in files) > len(files) * 0.75


@pytest.mark.parametrize("data", FILES)
def test_an_object_that_follows_the_standard_needs_no_pydicom(data: bytes) -> None:
    found = read_fast(data)

    assert found is not None
    assert agrees(data)
    assert found.private_labels == (("ANT", "POST"), ("WB_E", "WB_F"))
    assert found.energy_windows == (((126.5, 154.0),), (), ((126.45, 154.55),))
    assert found.drugs[0].texts == ("Tc-99m MDP", "medronate")
    assert found.detectors[0].view_codes == (("SCT", "399321004"),)


@pytest.mark.parametrize("syntax", PLAIN)
def test_a_header_longer_than_the_first_read_needs_no_pydicom(syntax: UID) -> None:
    data = encode(full(ImageComments="x" * 60_000), syntax)

    assert read_fast(data) is not None
    assert agrees(data)


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, UID("1.2.3.4")])
def test_other_transfer_syntaxes_are_left_to_pydicom(syntax: UID) -> None:
    known = syntax if syntax.is_transfer_syntax else ExplicitVRLittleEndian
    data = encode(dataset(), known).replace(b"1.2.840.10008.1.2.1\0", syntax.encode().ljust(20, b"\0"))

    assert read_fast(data) is None


def test_a_bare_dataset_is_left_to_pydicom() -> None:
    assert read_fast(without_preamble(dataset(), is_implicit=False)) is None


@pytest.mark.parametrize(
    "names", ["", "ISO_IR 100", "ISO_IR 192", "ISO_IR 144", "\\ISO 2022 IR 87", "GB18030", "LATIN"]
)
@pytest.mark.parametrize("text", [b"Ganzk\xf6rper", b"Ganzk\xc3\xb6rper", b"\xb2\xdd\xb5", b"\x1b$B4X@a\x1b(B"])
def test_free_text_is_decoded_as_by_pydicom(names: str, text: bytes) -> None:
    placeholder = "x" * (len(text) + len(text) % 2)
    data = encode(full(SpecificCharacterSet="ISO_IR 100".ljust(len(names)), SeriesDescription=placeholder))
    padded = names.encode().ljust(len(names) + len(names) % 2)
    start = data.index(b"\x08\x00\x05\x00CS")
    old = data[start : start + 8 + struct.unpack_from("<H", data, start + 6)[0]]
    data = data.replace(old, b"\x08\x00\x05\x00CS" + struct.pack("<H", len(padded)) + padded)
    data = data.replace(placeholder.encode(), text.ljust(len(placeholder)))

    assert agrees(data)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (b"126.5 ", b"1_6.5 "),
        (b"126.5 ", b"126,5 "),
        (b"126.5 ", b"126keV"),
        (b"126.5 ", b"126\\5 "),
        (b"126.5 ", b"\xb2\xb26.5"),
        (b"126.5 ", b"\0\0\0\0\0\0"),
        (b"28.1", b"n/a "),
        (b"090000", b"09:00 "),
        (b"090000", b"09\\00 "),
        (b"Tc-99m MDP", b"\xe9\\99m MDP "),
        (b"126.5 ", b"nan   "),
        (b"126.5 ", b"1e400 "),
        (b"123456", b"1234.0"),
        (b"123456", b"      "),
        (b"1.2.3\0", b"1.2.3 "),
        (b"101500.5", b"10:15:00"),
        (b"WB ANT", b" WB\0A\t"),
    ],
)
def test_values_that_violate_their_vr_are_read_as_by_pydicom(good: bytes, bad: bytes) -> None:
    whole = encode(full())
    assert good in whole

    assert agrees(whole.replace(good, bad))


@pytest.mark.parametrize("encoding", PLAIN)
@pytest.mark.parametrize("drugs", [None, [], [item()]], ids=["absent", "empty", "an empty item"])
def test_the_drug_at_the_root_is_read_alike(drugs: list[Dataset] | None, encoding: UID) -> None:
    data = encode(full(RadiopharmaceuticalInformationSequence=drugs, Radiopharmaceutical="MDP"), encoding)

    found = read_fast(data)

    assert found is not None
    assert agrees(data)
    assert found.drugs[0].texts == (() if drugs else ("MDP",))


def test_an_item_with_a_character_set_of_its_own_is_left_to_pydicom() -> None:
    code = item(SpecificCharacterSet="ISO_IR 144", CodeValue="A", CodeMeaning="Anterior")

    assert read_fast(encode(dataset(ViewCodeSequence=[code]))) is None


def test_attributes_out_of_order_are_left_to_pydicom() -> None:
    data = encode(dataset())
    modality = b"\x08\x00\x60\x00CS\x02\x00NM"

    assert read_fast(data.replace(modality, modality * 2)) is None


def test_only_the_attributes_of_a_row_are_read_of_another_modality() -> None:
    data = encode(full(Modality="CT", SOPClassUID=CT))

    found = read_fast(data, may_be_scan)

    assert found is not None
    assert (found.modality, found.rows, found.columns, found.frames) == ("CT", 16, 4, 2)
    assert found.manufacturer == "Nobody"
    assert (found.pixel_data, found.detectors, found.descriptions) == (None, (), ())


def test_damage_after_the_attributes_of_a_row_does_not_matter_for_another_modality() -> None:
    data = encode(full(Modality="CT", SOPClassUID=CT))
    end = data.index(b"\x28\x00\x11\x00US") + 10

    broken = data[:end] + b"\x28\x00\x12\x00ZZ" + bytes(range(200))

    assert read_fast(broken, may_be_scan) == read_fast(data, may_be_scan)
    assert agrees(broken, may_be_scan)


def test_every_truncation_is_read_as_by_pydicom() -> None:
    data = FILES[5]

    assert all(agrees(data[:end]) for end in range(132, len(data), 3))


@settings(deadline=None, max_examples=400)
@given(st.data())
def test_both_agree_on_damaged_objects(draws: st.DataObject) -> None:
    data = bytearray(draws.draw(st.sampled_from(FILES)))
    for _ in range(draws.draw(st.integers(1, 3))):
        position = draws.draw(st.integers(132, len(data) - 1))
        what = draws.draw(st.sampled_from(["flip", "set", "insert", "delete"]))
        if what == "flip":
            data[position] ^= 1 << draws.draw(st.integers(0, 7))
        elif what == "set":
            data[position] = draws.draw(st.sampled_from([0, 0x1B, 0x20, 0x30, 0x41, 0x5C, 0xFF]))
        elif what == "insert":
            data[position:position] = draws.draw(st.binary(min_size=1, max_size=8))
        else:
            del data[position : position + draws.draw(st.integers(1, 8))]

    assert all(agrees(bytes(data), is_wanted) for is_wanted in READINGS)
