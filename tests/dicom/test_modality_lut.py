from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)
from tests.dicom.objects import SECONDARY_CAPTURE, dataset, encode, read

from bsbatch.dicom.modality_lut import read_table
from bsbatch.dicom.pixels import read_frames
from bsbatch.errors import ItemError
from bsbatch.reasons import Reason
from bsbatch.view_pixels import ViewPixels

SQUARES = [i * i for i in range(256)]
SAMPLES = (np.arange(64 * 32).reshape(1, 64, 32) % 256).astype("<u2")
SYNTAXES = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
]


def table(descriptor: Any, data: Any, kind: str = "US", order: str = "<") -> Dataset:
    """Item of a Modality LUT Sequence whose data have a VR."""
    made = Dataset()
    made.LUTDescriptor, made.ModalityLUTType = descriptor, "US"
    value = np.asarray(data, f"{order}u2").tobytes() if kind == "OW" and not isinstance(data, bytes) else data
    made.add_new("LUTData", kind, value)
    return made


def view_of(data: bytes) -> ViewPixels:
    return read_frames(BytesIO(data), read(data), (1,))[0]


def with_table(samples: NDArray[Any], item: Dataset, syntax: UID = ExplicitVRLittleEndian, **others: Any) -> ViewPixels:
    return view_of(encode(dataset(samples, ModalityLUTSequence=Sequence([item]), **others), syntax))


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("kind", ["US", "OW"])
def test_counts_are_looked_up_whatever_the_encoding(syntax: UID, kind: str) -> None:
    order = ">" if syntax == ExplicitVRBigEndian else "<"

    found = with_table(SAMPLES, table([256, 0, 16], SQUARES, kind, order), syntax)

    np.testing.assert_array_equal(found.counts, SAMPLES[0].astype("f4") ** 2)
    np.testing.assert_array_equal(found.values, found.counts)
    np.testing.assert_array_equal(found.stored, SAMPLES[0])


@pytest.mark.parametrize("first", [0, 10, 200])
def test_samples_outside_the_table_have_the_counts_of_its_ends(first: int) -> None:
    found = with_table(SAMPLES, table([20, first, 16], SQUARES[5:25]))

    expected = np.asarray(SQUARES[5:25])[np.clip(SAMPLES[0].astype(int) - first, 0, 19)]
    np.testing.assert_array_equal(found.counts, expected)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_the_first_sample_of_a_table_may_be_negative(syntax: UID) -> None:
    signed = SAMPLES.astype("<i2") - 128

    found = with_table(signed, table([256, -128, 16], SQUARES), syntax)

    np.testing.assert_array_equal(found.counts, SAMPLES[0].astype("f4") ** 2)


@pytest.mark.parametrize(
    "data",
    [list(range(255, -1, -1)), bytes(range(255, -1, -1))],
    ids=["an entry in a word", "two entries in a word"],
)
def test_tables_of_8_bits_are_read(data: Any) -> None:
    found = with_table(SAMPLES, table([256, 0, 8], data, "OW"))

    np.testing.assert_array_equal(found.counts, 255 - SAMPLES[0].astype("f4"))


def test_zero_entries_are_65536() -> None:
    samples = (np.arange(64 * 32).reshape(1, 64, 32) * 32 + 31).astype("<u2")

    found = with_table(samples, table([0, 0, 16], np.arange(65535, -1, -1), "OW"))

    np.testing.assert_array_equal(found.counts, 65535 - samples[0].astype("f4"))


def test_padding_has_the_fewest_counts_of_the_table() -> None:
    item = table([256, 0, 16], [SQUARES[255 - i] for i in range(256)])

    found = with_table(SAMPLES, item, PixelPaddingValue=3)

    assert found.has_padding
    assert (found.counts[SAMPLES[0] == 3] == 0).all()


def test_slope_and_intercept_beside_a_table_are_ignored() -> None:
    found = with_table(SAMPLES, table([256, 0, 16], SQUARES), RescaleSlope=3, RescaleIntercept=1)

    np.testing.assert_array_equal(found.counts, SAMPLES[0].astype("f4") ** 2)


def test_the_counts_of_a_display_with_a_table_are_inverted() -> None:
    display: dict[str, Any] = {"PhotometricInterpretation": "MONOCHROME1", "SOPClassUID": SECONDARY_CAPTURE}

    found = with_table(SAMPLES.astype("u1"), table([256, 0, 16], SQUARES), **display)

    np.testing.assert_array_equal(found.counts, 255**2 - SAMPLES[0].astype("f4") ** 2)


def test_an_empty_sequence_is_no_table() -> None:
    found = view_of(encode(dataset(SAMPLES, ModalityLUTSequence=Sequence([]), RescaleSlope=3)))

    np.testing.assert_array_equal(found.counts, 3 * SAMPLES[0].astype("f4"))


def test_a_real_table_gives_the_counts_of_pydicom() -> None:
    data = Path(str(get_testdata_file("mlut_18.dcm", download=False))).read_bytes()
    source = dcmread(BytesIO(data))

    np.testing.assert_array_equal(view_of(data).counts, apply_modality_lut(source.pixel_array, source))


@pytest.mark.parametrize(
    "item",
    [
        Dataset(),
        table([256, 0, 16], SQUARES[:-1]),
        table([256, 0, 32], SQUARES),
        table([256, 0, 0], SQUARES),
        table([256, 0, 7], SQUARES),
        table([256, 0, 17], SQUARES),
        table([256, 0], SQUARES),
        table([256, 0, 8], bytes(254), "OW"),
    ],
    ids=["empty", "too short", "32 bits", "0 bits", "7 bits", "17 bits", "two values", "too short in bytes"],
)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_a_table_that_cannot_be_applied_fails_with_a_reason_of_its_own(item: Dataset, syntax: UID) -> None:
    with pytest.raises(ItemError) as caught:
        with_table(SAMPLES, item, syntax)

    assert caught.value.reason == Reason.INVALID_MODALITY_LUT


@pytest.mark.parametrize(
    ("first", "is_signed", "expected"), [(32767, True, 32767), (32768, True, -32768), (32768, False, 32768)]
)
def test_the_first_sample_is_signed_like_the_samples(first: int, is_signed: bool, expected: int) -> None:
    dataset = Dataset()
    dataset.ModalityLUTSequence = Sequence([table([2, first, 9], [1, 2])])
    assert read_table(dataset, is_signed, is_little_endian=True).first == expected
