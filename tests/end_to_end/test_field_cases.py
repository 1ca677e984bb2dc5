"""Field cases of one object: tracer, energy window, stored values, codes, meta information and the picture itself.

Each case is a study of one archive; its row is compared with that of the same counts in a plain object.
"""

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless
from tests.archives import Pixels, ct_slice
from tests.end_to_end.field_cases import (
    COLUMNS,
    ROWS,
    TC_99M,
    Files,
    Found,
    code,
    counts,
    encode,
    phantom,
    scan,
    screen_cases,
    split,
    tracer,
    window,
)

CASES: dict[str, Callable[[], Files]] = {}
MULTI_FRAME_BYTE_CAPTURE = "1.2.840.10008.5.1.4.1.1.7.2"


def case(make: Callable[[], FileDataset | bytes]) -> Callable[[], FileDataset | bytes]:
    """Register a case of one file."""

    def write() -> Files:
        made = make()
        return {"a": made if isinstance(made, bytes) else encode(made)}

    CASES[make.__name__] = write
    return make


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    return screen_cases(CASES, tmp_path_factory.mktemp("objects"))


@case
def plain() -> FileDataset:
    return scan("plain", counts(1))


@case
def plain_phantom() -> FileDataset:
    return scan("phantom", phantom())


# Tracer, phase and energy window


@case
def iodine_with_commas() -> FileDataset:
    drugs = [tracer("I-131 NaI", ("C-114B1", "SRT", "Iodine 131"))]
    return scan("iodine", counts(1), EnergyWindowInformationSequence=[window("327,6", "400,4")], **drug(*drugs))


@case
def iodine_in_a_wide_window() -> FileDataset:
    drugs = drug(tracer("I-123 MIBG", ("C-114A4", "SRT", "Iodine 123")))
    return scan("wide", counts(1), EnergyWindowInformationSequence=[window("135.1", "182.9")], **drugs)


@case
def iodine_in_words() -> FileDataset:
    return scan("words", counts(1), **drug(tracer("NaI I-131 capsule")))


@case
def frames_of_iodine() -> FileDataset:
    windows = [window("126", "154"), window("327.6", "400.4")]
    return scan(
        "frames",
        counts(1),
        EnergyWindowInformationSequence=windows,
        EnergyWindowVector=[2, 2],
        NumberOfEnergyWindows=2,
    )


@case
def limits_without_energies() -> FileDataset:
    return scan("limits", counts(1), EnergyWindowInformationSequence=[window("LOW", "HIGH")])


@case
def octreotide() -> FileDataset:
    return scan("octreotide", counts(1), **drug(tracer("Tc-99m EDDA/HYNIC-TOC", TC_99M)))


@case
def pool_by_time() -> FileDataset:
    return scan("pool", counts(1), **drug(tracer("Tc-99m MDP", TC_99M, start="101100")))


@case
def pool_by_words() -> FileDataset:
    return scan("words of pool", counts(1), SeriesDescription="WB BLOOD POOL")


@case
def window_of_zeros() -> FileDataset:
    return scan("zeros", counts(1), EnergyWindowInformationSequence=[window("0", "0")])


@case
def window_with_commas() -> FileDataset:
    return scan("commas", counts(1), EnergyWindowInformationSequence=[window("126,45", "154,55")])


@case
def window_reversed() -> FileDataset:
    return scan("reversed", counts(1), EnergyWindowInformationSequence=[window("154", "126")])


def drug(*items: Dataset) -> dict[str, Any]:
    return {"RadiopharmaceuticalInformationSequence": list(items)}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("iodine_with_commas", "wrong_isotope_window"),
        ("iodine_in_a_wide_window", "other_radionuclide"),
        ("iodine_in_words", "other_radionuclide"),
        ("frames_of_iodine", "wrong_isotope_window"),
        ("limits_without_energies", "energy_window_unreadable"),
    ],
)
def test_another_nuclide_is_turned_down_with_a_true_reason(found: dict[str, Found], name: str, reason: str) -> None:
    assert found[name].files == {"a": ("failed", reason)}


@pytest.mark.parametrize(
    ("name", "flag"),
    [("octreotide", "other_tracer"), ("pool_by_time", "early_phase"), ("pool_by_words", "early_phase")],
)
def test_another_pharmaceutical_or_phase_is_flagged(found: dict[str, Found], name: str, flag: str) -> None:
    assert found[name].flags - found["plain"].flags == {flag}


# Stored values


def stored(patient: str, samples: Pixels, **values: Any) -> FileDataset:
    """Make an object of samples that stand for the counts of the plain object."""
    return scan(patient, samples, CountsAccumulated=int(counts(1).sum()), **values)


def rubbish(first_bit: int) -> Pixels:
    """Random values of the four bits from ``first_bit`` on."""
    return np.random.default_rng(20).integers(0, 16, (2, ROWS, COLUMNS), np.uint16) << np.uint16(first_bit)


@case
def overlay_above_samples() -> FileDataset:
    drawn = np.zeros((ROWS, COLUMNS), np.uint16)
    drawn[20:60, 20:100] = 1 << 12
    dataset = stored("overlay", counts(1) | drawn, BitsStored=12, HighBit=11)
    elements = ((0x10, "US", ROWS), (0x11, "US", COLUMNS), (0x40, "CS", "G"), (0x50, "SS", [1, 1]))
    for element, vr, value in (*elements, (0x100, "US", 16), (0x102, "US", 12)):
        dataset.add_new((0x6000, element), vr, value)
    return dataset


@case
def mark_in_the_highest_bit() -> FileDataset:
    drawn = np.zeros((ROWS, COLUMNS), np.uint16)
    drawn[480:500, 50:80] = 1 << 15
    return stored("mark", counts(1) | drawn, BitsStored=12, HighBit=11)


@case
def left_justified() -> FileDataset:
    return stored("left", counts(1) << np.uint16(4) | rubbish(0), BitsStored=12, HighBit=15)


@case
def rubbish_in_big_endian() -> bytes:
    return encode(stored("big", counts(1) | rubbish(12), BitsStored=12, HighBit=11), ExplicitVRBigEndian)


@case
def rubbish_above_signed_samples() -> FileDataset:
    return stored("signed", counts(1) | rubbish(12), BitsStored=12, HighBit=11, PixelRepresentation=1)


@case
def monochrome1() -> FileDataset:
    return scan("monochrome1", counts(1), PhotometricInterpretation="MONOCHROME1")


@case
def padding() -> FileDataset:
    frames = counts(1)
    frames[..., :10] = frames[..., -10:] = 65535
    return stored("padding", frames, PixelPaddingValue=65535)


@case
def modality_lut() -> FileDataset:
    frames = counts(1)
    values = np.unique(frames)
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [len(values), 0, 16])
    table.add_new("ModalityLUTType", "LO", "US")
    table.add_new("LUTData", "US", [int(value) for value in values])
    return stored("lut", np.searchsorted(values, frames).astype(np.uint16), ModalityLUTSequence=[table])


@case
def palette() -> FileDataset:
    dataset = scan("palette", counts(1), PhotometricInterpretation="PALETTE COLOR")
    for element in (1, 2, 3):
        dataset.add_new((0x0028, 0x1100 + element), "US", [256, 0, 16])
        dataset.add_new((0x0028, 0x1200 + element), "OW", np.arange(0, 65536, 257, dtype="<u2").tobytes())
    return dataset


@case
def largest_value_255() -> FileDataset:
    return scan("255", capped(counts(1)))


def capped(frames: Pixels) -> Pixels:
    frames[0, 300, 60] = 255
    return frames


@case
def eight_bits_in_sixteen() -> FileDataset:
    return scan("8 in 16", capped(counts(1)), BitsStored=8, HighBit=7)


@case
def multi_frame_byte_capture() -> FileDataset:
    dataset = scan("bytes", counts(1), SOPClassUID=MULTI_FRAME_BYTE_CAPTURE, BitsAllocated=8, BitsStored=8, HighBit=7)
    dataset.PixelData = counts(1).astype(np.uint8).tobytes()
    return dataset


@pytest.mark.parametrize("name", ["eight_bits_in_sixteen", "multi_frame_byte_capture"])
def test_eight_stored_bits_are_flagged(found: dict[str, Found], name: str) -> None:
    assert "8bit_origin" in found[name].flags


def test_a_largest_value_of_255_is_no_flag(found: dict[str, Found]) -> None:
    assert "8bit_origin" not in found["largest_value_255"].flags


# Other words for nuclear medicine


@case
def modality_ot() -> FileDataset:
    return scan("OT", counts(1), Modality="OT")


@case
def modality_in_lower_case() -> FileDataset:
    return scan("lower case", counts(1), Modality="ot")


@case
def static_whole_body() -> FileDataset:
    kind = ["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"]
    return scan("static", counts(1), ImageType=kind, SeriesDescription="WHOLE BODY BONE")


@case
def static_with_technique() -> FileDataset:
    kind = ["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"]
    return scan("technique", counts(1), ImageType=kind, SeriesDescription="BONE", WholeBodyTechnique="1PS")


@case
def vector_of_one_value() -> FileDataset:
    return scan("vector", counts(1), EnergyWindowVector=1)


@case
def transposed() -> FileDataset:
    return scan("transposed", np.ascontiguousarray(counts(1).swapaxes(1, 2)))


def test_a_transposed_matrix_fails_aloud(found: dict[str, Found]) -> None:
    assert found["transposed"].files == {"a": ("failed", "aspect_out_of_range")}


@case
def codes_of_one_view() -> FileDataset:
    dataset = scan("codes", counts(1))
    both = [code("399321004", "SCT", "Anterior"), code("399001007", "SCT", "Posterior")]
    dataset.DetectorInformationSequence[0].ViewCodeSequence = both
    return dataset


def test_codes_that_contradict_each_other_still_fail(found: dict[str, Found]) -> None:
    assert found["codes_of_one_view"].files == {"a": ("failed", "view_conflict")}


# Meta information


@case
def without_preamble() -> bytes:
    return encode(scan("preamble", counts(1)))[128:]


@case
def prefix_inside_a_value() -> bytes:
    """A bare data set in implicit VR whose Image Type has ``DICM`` at byte 128."""
    dataset = scan("inside", counts(1))
    _, body = split(encode(dataset, ImplicitVRLittleEndian))
    rest = body[body.index(struct.pack("<HH", 0x0008, 0x0016)) :]
    value = b"ORIGINAL\\PRIMARY\\WHOLE BODY\\EMISSION".ljust(120) + b"DICM\\X"
    return struct.pack("<HHI", 0x0008, 0x0008, len(value)) + value + rest


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
def slice_cut_behind_meta() -> bytes:
    return split(encode(ct_slice(1)))[0]


@case
def part_of_a_message() -> bytes:
    lead = b"\r\n--boundary\r\nContent-Type: application/dicom\r\n\r\n"
    return lead + encode(scan("part", counts(1))) + b"\r\n--boundary--\r\n"


@pytest.mark.parametrize("name", ["cut_behind_meta", "cut_inside_meta", "zeros_behind_meta"])
def test_a_scan_cut_or_zeroed_before_its_image_is_failed(found: dict[str, Found], name: str) -> None:
    assert found[name].files == {"a": ("failed", "decode_failed")}


def test_a_slice_cut_behind_its_meta_information_is_skipped(found: dict[str, Found]) -> None:
    assert found["slice_cut_behind_meta"].files == {"a": ("skipped", "modality_not_nm")}


def test_a_scan_inside_something_else_is_failed_as_wrapped(found: dict[str, Found]) -> None:
    assert found["part_of_a_message"].files == {"a": ("failed", "wrapped")}


# What gives the row of the plain object


SAME = {
    "window_of_zeros": set(),
    "window_with_commas": set(),
    "window_reversed": set(),
    "overlay_above_samples": set(),
    "mark_in_the_highest_bit": set(),
    "left_justified": set(),
    "rubbish_in_big_endian": set(),
    "rubbish_above_signed_samples": set(),
    "monochrome1": {"monochrome1"},
    "padding": {"padding_removed"},
    "modality_lut": {"modality_lut"},
    "palette": set(),
    "modality_ot": set(),
    "modality_in_lower_case": set(),
    "static_whole_body": set(),
    "static_with_technique": set(),
    "vector_of_one_value": set(),
    "without_preamble": set(),
    "prefix_inside_a_value": set(),
    "explicit_said_implicit": set(),
    "implicit_said_explicit": set(),
    "little_said_big": set(),
    "native_said_jpeg2000": set(),
}
"""Flags of each case beyond those of the plain object."""


@pytest.mark.parametrize("name", SAME)
def test_equal_counts_get_equal_scores_however_they_are_stored(found: dict[str, Found], name: str) -> None:
    row, plain_row = found[name].scored, found["plain"].scored
    assert found[name].files == {"a": ("used", None)}
    assert row["p_metastasis"] == plain_row["p_metastasis"]
    assert set(row["qc_flags"]) - set(plain_row["qc_flags"]) == SAME[name]


@pytest.mark.parametrize("name", [name for name in SAME if name not in {"padding", "modality_lut"}])
def test_equal_counts_are_equal_pixels(found: dict[str, Found], name: str) -> None:
    assert found[name].scored["pixel_xxh3"] == found["plain"].scored["pixel_xxh3"]


# In the picture


@case
def upside_down() -> FileDataset:
    return scan("feet first", np.ascontiguousarray(phantom()[:, ::-1]))


@case
def upper_half() -> FileDataset:
    return scan("half", np.ascontiguousarray(phantom()[:, :512]))


@case
def stopped() -> FileDataset:
    frames = phantom().copy()
    frames[:, 460:] = 0
    return scan("stopped", frames)


@case
def empty_rows() -> FileDataset:
    frames = phantom().copy()
    frames[:, 300:700:8] = 0
    return scan("rows", frames)


@case
def half_of_a_detector_empty() -> FileDataset:
    frames = phantom().copy()
    frames[1, :512] = 0
    return scan("detector", frames)


PICTURES = {
    "upside_down": "orientation_suspect",
    "upper_half": "body_truncated",
    "stopped": "body_truncated",
    "empty_rows": "rows_missing",
    "half_of_a_detector_empty": "view_incomplete",
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_wrong_picture_is_flagged(found: dict[str, Found], name: str) -> None:
    assert PICTURES[name] in found[name].flags


def test_a_sound_picture_has_no_flag(found: dict[str, Found]) -> None:
    assert not found["plain_phantom"].flags
