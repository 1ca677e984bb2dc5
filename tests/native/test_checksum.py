import ctypes
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsbatch.native.checksum import is_compiled
from bsbatch.native.library import open_library

pytestmark = pytest.mark.skipif(not is_compiled(), reason="compiled code computes no checksum on this processor")


def crc32(data: bytes, crc: int = 0) -> int:
    library, value = open_library(), ctypes.c_uint32(crc)
    assert library is not None
    assert library.bsbatch_checksum(data, ctypes.c_uint64(len(data)), ctypes.byref(value)) == 0
    return value.value


@given(st.binary(max_size=300), st.integers(0, 2**32 - 1), st.integers(0, 4))
def test_the_checksum_is_that_of_zlib(data: bytes, crc: int, copies: int) -> None:
    assert crc32(data * copies, crc) == zlib.crc32(data * copies, crc)


_SIZES = [0, 1, 63, 64, 65, 79, 80, 127, 128, 129, 255, 256, 257, 319, 511, 512, 513, 768, 1 << 20, (1 << 20) + 7]


@pytest.mark.parametrize("size", _SIZES)
def test_the_checksum_of_parts_is_that_of_the_whole(size: int) -> None:
    data = bytes(number * number % 251 for number in range(size))
    for cut in (0, size // 3, size):
        assert crc32(data[cut:], crc32(data[:cut])) == zlib.crc32(data)
