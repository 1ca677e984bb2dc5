import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsbatch.native import checksum
from bsbatch.native.checksum import crc32


@given(st.binary(max_size=300), st.integers(0, 2**32 - 1), st.integers(0, 4))
def test_the_checksum_is_that_of_zlib(data: bytes, crc: int, copies: int) -> None:
    assert crc32(data * copies, crc) == zlib.crc32(data * copies, crc)


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 79, 80, 127, 128, 129, 1 << 20, (1 << 20) + 7])
def test_the_checksum_of_parts_is_that_of_the_whole(size: int) -> None:
    data = bytes(number * number % 251 for number in range(size))
    for cut in (0, size // 3, size):
        assert crc32(data[cut:], crc32(data[:cut])) == zlib.crc32(data)


def test_without_compiled_code_zlib_computes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksum, "_load_checksum", lambda: None)
    assert crc32(b"x" * 100) == zlib.crc32(b"x" * 100)
