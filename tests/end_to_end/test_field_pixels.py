"""Field cases of stored values and pictures: unused bits, padding, tables, wrong orientation, missing parts."""

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import ExplicitVRBigEndian, RLELossless
from tests.archives import Pixels
from tests.end_to_end.field_cases import (
    COLUMNS,
    ROWS,
    Found,
    Make,
    archive_fixture,
    change,
    counts,
    encode,
    phantom,
    register,
    scan,
)

MULTI_FRAME_BYTE_CAPTURE = "1.2.840.10008.5.1.4.1.1.7.2"
CASES: dict[str, Make] = {}
case = register(CASES)


found = archive_fixture(CASES)


@case
def plain() -> FileDataset:
    return scan("plain", counts(1))


@case
def plain_phantom() -> FileDataset:
    return scan("phantom", phantom())


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
def thirty_two_bits() -> FileDataset:
    dataset = stored("32", counts(1), BitsAllocated=32, BitsStored=32, HighBit=31)
    dataset.PixelData = counts(1).astype("<u4").tobytes()
    return dataset


@case
def rubbish_in_eight_bits() -> FileDataset:
    dataset = stored("8", counts(1), BitsAllocated=8, BitsStored=6, HighBit=5)
    dataset.PixelData = (counts(1).astype(np.uint8) | np.uint8(0x80)).tobytes()
    return dataset


@case
def rubbish_in_thirty_two_bits() -> FileDataset:
    dataset = stored("32 with rubbish", counts(1), BitsAllocated=32, BitsStored=12, HighBit=11)
    dataset.PixelData = (counts(1).astype("<u4") | np.uint32(0xABCD0000)).tobytes()
    return dataset


@case
def rubbish_in_rle() -> bytes:
    """The encoder of RLE refuses samples beyond Bits Stored, so it is given all sixteen bits."""
    dataset, samples = stored("RLE", counts(1)), counts(1) | rubbish(12)
    dataset.compress(RLELossless, samples, encoding_plugin="pydicom", generate_instance_uid=False)
    return encode(change(dataset, BitsStored=12, HighBit=11), RLELossless)


@case
def padding_range() -> FileDataset:
    frames = counts(1)
    frames[..., :5], frames[..., 5:10] = 60000, 65000
    return stored("padding range", frames, PixelPaddingValue=59000, PixelPaddingRangeLimit=65535)


@case
def high_bit_below_samples() -> FileDataset:
    return stored("bits", counts(1), BitsStored=12, HighBit=7)


def test_bits_that_contradict_one_another_fail(found: dict[str, Found]) -> None:
    assert found["high_bit_below_samples"].files == {"a": ("failed", "invalid_bits")}


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


SAME: dict[str, set[str]] = {
    "overlay_above_samples": set(),
    "mark_in_the_highest_bit": set(),
    "left_justified": set(),
    "rubbish_in_big_endian": set(),
    "rubbish_in_rle": set(),
    "rubbish_above_signed_samples": set(),
    "thirty_two_bits": set(),
    "rubbish_in_thirty_two_bits": set(),
    "rubbish_in_eight_bits": {"8bit_origin"},
    "monochrome1": {"monochrome1"},
    "padding": {"padding_removed"},
    "padding_range": {"padding_removed"},
    "modality_lut": {"modality_lut"},
    "palette": set(),
}
"""Flags of each case beyond those of the plain object."""


@pytest.mark.parametrize("name", SAME)
def test_equal_counts_get_equal_scores_however_they_are_stored(found: dict[str, Found], name: str) -> None:
    row, plain_row = found[name].scored, found["plain"].scored
    assert found[name].files == {"a": ("used", None)}
    assert row["p_metastasis"] == plain_row["p_metastasis"]
    assert set(row["qc_flags"]) - set(plain_row["qc_flags"]) == SAME[name]


@pytest.mark.parametrize("name", [name for name in SAME if name != "modality_lut"])
def test_equal_counts_are_equal_pixels(found: dict[str, Found], name: str) -> None:
    assert found[name].scored["pixel_xxh3"] == found["plain"].scored["pixel_xxh3"]


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
