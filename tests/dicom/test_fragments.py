"""Fragments of encapsulated pixel data, to the byte."""

import struct
from io import BytesIO

import pytest

from bsbatch.dicom.fragments import read_fragments, read_up_to
from bsbatch.errors import ItemError
from bsbatch.host import limits
from bsbatch.reasons import Reason

END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def item(value: bytes, element: int = 0xE000, length: int | None = None) -> bytes:
    return struct.pack("<HHI", 0xFFFE, element, len(value) if length is None else length) + value


def table(*offsets: int) -> bytes:
    return item(struct.pack(f"<{len(offsets)}I", *offsets))


def refusal(data: bytes, most: int = 1000) -> ItemError:
    with pytest.raises(ItemError) as caught:
        read_fragments(BytesIO(data), 0, most)
    return caught.value


@pytest.mark.parametrize("offsets", [(), (0,), (0, 10), (0, 10, 11)])
def test_the_table_and_all_fragments_are_read_without_their_delimiter(offsets: tuple[int, ...]) -> None:
    value = table(*offsets) + item(b"ab") + item(b"") + item(b"cdef")
    assert read_fragments(BytesIO(b"before" + value + END + b"behind"), 6, len(value)) == value
    assert read_fragments(BytesIO(END), 0, 0) == b""


def test_fragments_have_no_more_bytes_than_an_image_can_need() -> None:
    value = table() + item(b"ab") + item(b"cdef")
    error = refusal(value + END, len(value) - 1)
    assert (error.reason, "larger" in error.message) == (Reason.TOO_LARGE, True)
    assert refusal(table() + item(b"", length=0xFFFFFFFF)).reason == Reason.TOO_LARGE


def test_fragments_are_no_more_than_an_object_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FRAGMENTS", 4)
    assert read_fragments(BytesIO(item(b"") * 3 + END), 0, 1000) == item(b"") * 3
    assert refusal(item(b"") * 4 + END).reason == Reason.TOO_LARGE


@pytest.mark.parametrize("other", [item(b"ab", 0xE00D), b"\x08\x00\x08\x00\0\0\0\0", b"\xe0\x7f\x00\xe0\0\0\0\0"])
def test_nothing_else_stands_between_fragments(other: bytes) -> None:
    error = refusal(table() + item(b"ab") + other + END)
    assert (error.reason, "something else" in error.message) == (Reason.DECODE_FAILED, True)


@pytest.mark.parametrize("cut", [1, 8, 9, 12, 15])
def test_fragments_that_end_early_are_truncated(cut: int) -> None:
    assert refusal((table() + item(b"abcd") + END)[:-cut]).reason == Reason.TRUNCATED_PIXEL_DATA


@pytest.mark.parametrize("offsets", [(0, 0), (10, 0), (0, 10, 10), (0, 20, 10)])
def test_a_table_out_of_order_is_refused(offsets: tuple[int, ...]) -> None:
    error = refusal(table(*offsets) + item(b"ab") + END)
    assert (error.reason, "ascending" in error.message) == (Reason.DECODE_FAILED, True)


class Slow(BytesIO):
    """A file that returns three bytes at most."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, 3))


@pytest.mark.parametrize(
    ("count", "expected"), [(0, b""), (3, b"012"), (7, b"0123456"), (10, b"0123456789"), (11, b"0123456789")]
)
def test_a_file_that_returns_little_at_once_is_read_on(count: int, expected: bytes) -> None:
    assert read_up_to(Slow(b"0123456789"), count) == expected
