import struct

import numpy as np
import pytest
from pydicom.pixels.decoders.rle import _rle_decode_frame

from bsbatch.dicom.rle import decode_frame


def frame(*segments: bytes) -> bytes:
    offsets = [64 + sum(map(len, segments[:index])) for index in range(len(segments))]
    return struct.pack("<16L", len(segments), *offsets, *[0] * (15 - len(segments))) + b"".join(segments)


@pytest.mark.filterwarnings("ignore:The decoded RLE segment")
@pytest.mark.parametrize("bits", [8, 16, 32, 64])
def test_random_segments_are_decoded_as_pydicom_does(bits: int) -> None:
    random, shape = np.random.default_rng(bits), (24, 11)
    for _ in range(20):
        data = frame(*(random.bytes(600) + b"\x7f" + bytes(400) for _ in range(bits // 8)))
        expected = np.frombuffer(_rle_decode_frame(data, *shape, 1, bits), f"<u{bits // 8}").reshape(shape)

        np.testing.assert_array_equal(decode_frame(data, shape, bits), expected)


def test_runs_are_decoded_to_the_size_of_the_image_and_no_further() -> None:
    runs = b"\x81\x07" * 1_000_000

    assert decode_frame(frame(runs), (3, 5), 8).tolist() == [[7] * 5] * 3


@pytest.mark.parametrize(
    "data", [frame(b"\x01ab", b"\x00a"), frame(b"\x01ab"), frame(*[b"\x01ab"] * 3), b"", frame(b"", b"")]
)
def test_damaged_frames_are_refused(data: bytes) -> None:
    with pytest.raises((ValueError, struct.error)):
        decode_frame(data, (1, 2), 16)


def test_samples_of_bits_are_not_known() -> None:
    with pytest.raises(NotImplementedError):
        decode_frame(frame(b"\x00a"), (1, 1), 1)


@pytest.mark.parametrize("pixels", [1, 127, 128, 129, 256, 257])
def test_runs_and_literals_of_any_length_fill_an_image(pixels: int) -> None:
    literal = b"".join(
        bytes([min(128, pixels - at) - 1]) + bytes(range(min(128, pixels - at))) for at in range(0, pixels, 128)
    )
    expected = [number % 128 for number in range(pixels)]
    assert decode_frame(frame(literal), (1, pixels), 8).tolist() == [expected]
    assert decode_frame(frame(b"\x80" + literal + b"\x80"), (1, pixels), 8).tolist() == [expected]
    run = bytes([257 - 128, 9]) * (pixels // 128) + (
        bytes([257 - pixels % 128, 9]) if pixels % 128 > 1 else b"\x00\x09"
    )
    assert decode_frame(frame(run), (1, pixels), 8).tolist() == [[9] * pixels]
    with pytest.raises(ValueError, match="fewer bytes"):
        decode_frame(frame(literal), (1, pixels + 1), 8)


def test_the_first_segment_has_the_most_significant_bytes() -> None:
    assert decode_frame(frame(b"\x01\x01\x02", b"\x01\x03\x04"), (1, 2), 16).tolist() == [[0x0103, 0x0204]]
    with pytest.raises(ValueError, match="number of segments"):
        decode_frame(frame(b"\x00\x01"), (1, 1), 16)
