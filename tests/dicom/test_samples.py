from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from tests.dicom.containers import ENCODINGS, Layout, encode_containers, pack, wrap
from tests.dicom.objects import NM, SECONDARY_CAPTURE, dataset, encode, header, read

from bsbatch.dicom import pixels
from bsbatch.dicom.pixels import frame_offset, read_frames
from bsbatch.dicom.samples import largest_plain
from bsbatch.view_pixels import ViewPixels

SHAPE = 1, 64, 32  # large enough for the wavelets of JPEG 2000
LEFT = Layout(16, 12, 15)
SIGNED = Layout(16, 12, 11, is_signed=True)


def view_of(data: bytes) -> ViewPixels:
    return read_frames(BytesIO(data), read(data), (1,))[0]


def draw_samples(layout: Layout, seed: int = 0) -> NDArray[Any]:
    low, high = layout.extremes
    return np.random.default_rng(seed).integers(low, high + 1, SHAPE)


def draw_rubbish(seed: int = 1) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, 1 << 32, SHAPE)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    allocated = draw(st.sampled_from([8, 16, 16, 16, 32]))
    stored = draw(st.integers(2, allocated))
    return Layout(allocated, stored, draw(st.integers(stored - 1, allocated - 1)), draw(st.booleans()))


@pytest.mark.filterwarnings("ignore:The number of bytes of compressed")  # noise has the same length by chance
@given(layouts(), st.sampled_from(ENCODINGS), st.booleans(), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_every_encoding_gives_the_samples_without_the_unused_bits(
    layout: Layout, syntax: UID, has_rubbish: bool, seed: int
) -> None:
    used = ExplicitVRLittleEndian if layout.allocated == 32 and syntax.is_encapsulated else syntax
    samples = draw_samples(layout, seed)
    containers = pack(samples, layout, draw_rubbish(seed) if has_rubbish else 0)

    found = view_of(encode_containers(wrap(containers, layout), used))

    np.testing.assert_array_equal(found.stored, samples[0])


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("is_signed", [False, True])
@pytest.mark.parametrize(("stored", "high_bit"), [(12, 15), (10, 15), (8, 15), (12, 11)])
def test_a_code_stream_of_samples_is_not_shifted_as_its_high_bit_says(
    syntax: UID, is_signed: bool, stored: int, high_bit: int
) -> None:
    samples = draw_samples(Layout(16, stored, stored - 1, is_signed))
    made = dataset(samples.astype("<i2" if is_signed else "<u2"), BitsStored=stored, HighBit=stored - 1)
    found, buffer = dcmread(BytesIO(encode(made, syntax))), BytesIO()
    found.HighBit = high_bit
    found.save_as(buffer, enforce_file_format=True)

    np.testing.assert_array_equal(view_of(buffer.getvalue()).stored, samples[0])


def test_no_decoder_removes_bits_of_samples_at_the_upper_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """GDCM decodes JPEG Lossless and removes the bits above Bits Stored; pydicom has no encoder to try it with."""
    given: list[int] = []

    def decode(source: Dataset, **options: Any) -> NDArray[Any]:
        given.append(source.BitsStored)
        return np.asarray(pixel_array(source, **options))

    monkeypatch.setattr(pixels, "pixel_array", decode)
    for layout in (LEFT, Layout(16, 12, 11)):
        view_of(encode_containers(wrap(pack(draw_samples(layout), layout), layout), JPEG2000Lossless))

    assert given == [16, 12]


def with_padding(value: int, layout: Layout, syntax: UID, **attributes: Any) -> tuple[ViewPixels, NDArray[Any]]:
    """A view whose first ten rows have a value, and its samples with zeros there."""
    samples = draw_samples(layout) // 2
    samples[:, :10] = value
    found = view_of(encode_containers(wrap(pack(samples, layout), layout, **attributes), syntax))
    samples[:, :10] = 0
    return found, samples[0]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
@pytest.mark.parametrize(
    ("layout", "value"),
    [
        (Layout(16, 16, 15), 65535),
        (Layout(16, 16, 15, is_signed=True), -32768),
        (SIGNED, -2048),
        (SIGNED, 2047),
        (LEFT, 4095),
        (Layout(8, 8, 7), 255),
    ],
    ids=str,
)
def test_padding_has_no_counts(layout: Layout, value: int, syntax: UID) -> None:
    found, expected = with_padding(value, layout, syntax, PixelPaddingValue=value)

    assert found.has_padding
    np.testing.assert_array_equal(found.stored, expected)


@pytest.mark.parametrize("ends", [(60000, 65535), (65535, 60000)])
@pytest.mark.parametrize(("value", "is_padding"), [(59999, False), (60000, True), (62000, True), (65535, True)])
def test_a_padding_range_includes_both_of_its_ends(ends: tuple[int, int], value: int, is_padding: bool) -> None:
    attributes = dict(zip(("PixelPaddingValue", "PixelPaddingRangeLimit"), ends, strict=True))

    found, _ = with_padding(value, Layout(16, 16, 15), ExplicitVRLittleEndian, **attributes)

    assert found.has_padding is is_padding
    assert (found.stored[0, 0] == 0) == is_padding


def test_padding_that_is_no_sample_is_looked_for_in_whole_containers() -> None:
    layout = Layout(16, 12, 11)
    samples = draw_samples(layout)
    containers = pack(samples, layout)
    containers[:, :10] = 0xF830

    found = view_of(encode(wrap(containers, layout, PixelPaddingValue=0xF830)))

    samples[:, :10] = 0
    np.testing.assert_array_equal(found.stored, samples[0])


@pytest.mark.parametrize("value", [0, 9999])
def test_padding_that_changes_no_pixel_is_not_reported(value: int) -> None:
    samples = draw_samples(Layout(16, 12, 11)).astype("<u2")
    data = encode(dataset(samples, PixelPaddingValue=value))

    assert not view_of(data).has_padding
    np.testing.assert_array_equal(view_of(data).stored, samples[0])


@pytest.mark.parametrize(("slope", "intercept"), [(2, 0), (1, -100), (0.5, -50), (-1, 300)])
def test_padding_has_no_counts_after_rescaling(slope: float, intercept: float) -> None:
    found, _ = with_padding(
        65535,
        Layout(16, 16, 15),
        ExplicitVRLittleEndian,
        PixelPaddingValue=65535,
        RescaleSlope=slope,
        RescaleIntercept=intercept,
    )

    assert not found.counts[:10].any()
    assert found.counts[10:].any()


def test_padding_of_a_display_has_no_counts_after_inversion() -> None:
    samples = (np.arange(64 * 32).reshape(SHAPE) % 100 + 100).astype("u1")
    samples[:, :10] = 7
    display = {"PhotometricInterpretation": "MONOCHROME1", "SOPClassUID": SECONDARY_CAPTURE + ".2"}

    found = view_of(encode(dataset(samples, PixelPaddingValue=7, **display)))

    assert not found.counts[:10].any()
    np.testing.assert_array_equal(found.counts[10:], 255 - samples[0, 10:].astype("f4"))


def test_a_view_of_padding_alone_has_no_counts() -> None:
    samples = np.full(SHAPE, 9, "<u2")

    assert not view_of(encode(dataset(samples, PixelPaddingValue=9))).counts.any()


@pytest.mark.parametrize(
    ("sop_class", "kind", "is_inverted"),
    [
        (NM, "<u2", False),
        (NM, "u1", False),
        (SECONDARY_CAPTURE, "<u2", False),
        (SECONDARY_CAPTURE, "u1", True),
        (SECONDARY_CAPTURE + ".2", "u1", True),
    ],
)
def test_monochrome1_inverts_displays_and_leaves_counts(sop_class: str, kind: str, is_inverted: bool) -> None:
    stored = (np.arange(64 * 32).reshape(SHAPE) % 128).astype(kind)

    found = view_of(encode(dataset(stored, PhotometricInterpretation="MONOCHROME1", SOPClassUID=sop_class)))

    np.testing.assert_array_equal(found.counts, 255 - stored[0].astype("f4") if is_inverted else stored[0])


def test_a_signed_display_is_inverted_within_its_stored_bits() -> None:
    layout = Layout(8, 6, 5, is_signed=True)
    samples = draw_samples(layout)
    display = {"PhotometricInterpretation": "MONOCHROME1", "SOPClassUID": SECONDARY_CAPTURE}

    found = view_of(encode(wrap(pack(samples, layout, draw_rubbish()), layout, **display)))

    np.testing.assert_array_equal(found.counts, -1 - samples[0])


def test_counts_of_monochrome1_are_rescaled_and_not_inverted() -> None:
    stored = draw_samples(Layout(16, 12, 11)).astype("<u2")

    found = view_of(encode(dataset(stored, PhotometricInterpretation="MONOCHROME1", RescaleSlope=2)))

    np.testing.assert_array_equal(found.counts, 2 * stored[0].astype("f4"))


@pytest.mark.parametrize(
    ("changes", "is_read"),
    [
        ({}, True),
        ({"bits_stored": 12, "high_bit": 11}, True),
        ({"padding": (0,)}, True),
        ({"photometric": "MONOCHROME1"}, True),
        ({"bits_stored": 12, "high_bit": 15}, False),
        ({"is_signed": True}, False),
        ({"padding": (65535,)}, True),
        ({"has_modality_lut": True}, False),
        ({"rescale": (2.0, 0.0)}, False),
        ({"bits_allocated": 32}, False),
    ],
    ids=str,
)
def test_compiled_code_reads_the_frames_whose_samples_are_their_counts(changes: dict[str, Any], is_read: bool) -> None:
    assert (frame_offset(header(**changes), 1) is not None) is is_read


@pytest.mark.parametrize(
    ("changes", "largest"),
    [
        ({}, 65535),
        ({"bits_stored": 12}, 4095),
        ({"padding": (0,)}, 65535),
        ({"padding": (65535,)}, 65534),
        ({"padding": (65535, 60000)}, 59999),
        ({"padding": (60000,), "bits_stored": 12}, 4095),
        ({"padding": (0, 3)}, 0),
    ],
    ids=str,
)
def test_values_of_compiled_code_end_below_padding_and_unused_bits(changes: dict[str, Any], largest: int) -> None:
    assert largest_plain(header(**changes)) == largest
