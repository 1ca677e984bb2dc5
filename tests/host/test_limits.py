"""Limits that grow with an object."""

from bsbatch.host import limits


def test_a_decoder_may_take_longer_for_more_pixels() -> None:
    assert limits.decoder_seconds(0) == 6.0
    assert limits.decoder_seconds(10_000_000) == 8.0


def test_a_decoder_may_use_more_memory_for_more_pixels_but_little_beyond() -> None:
    assert limits.decoder_bytes(0) >= 64 << 20
    assert limits.decoder_bytes(1000) - limits.decoder_bytes(0) == 16_000


def test_encapsulated_pixel_data_may_be_twice_as_long_as_native_ones_and_a_little_longer() -> None:
    assert limits.encapsulated_bytes(1000) == 2000 + (1 << 20)
