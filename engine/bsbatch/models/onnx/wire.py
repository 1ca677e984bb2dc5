"""Decode and encode the fields of serialised Protocol Buffers messages, without a package.

Source: Protocol Buffers, "Encoding".
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

_VARINT, _DELIMITED = 0, 2
_FIXED = {1: 8, 5: 4}
"""Wire types of fixed length, and their length in bytes."""
_LONGEST_VARINT = 10
"""Bytes of a number of 64 bits."""


class FieldSpan(NamedTuple):
    """Byte range of one field in a message."""

    number: int
    start: int
    """Offset of the first byte, that of the tag."""
    content: int
    """Offset of the first byte of the value."""
    end: int
    """Offset after the last byte."""


def fields(message: memoryview) -> Iterator[FieldSpan]:
    """Yield all fields in order.

    Raises
    ------
    ValueError
        The message ends within a number, or is not a Protocol Buffers message.
    """
    start = 0
    while start < len(message):
        tag, content = read_varint(message, start)
        kind = tag & 7
        if kind == _DELIMITED:
            length, content = read_varint(message, content)
            end = content + length
        elif kind == _VARINT:
            _, end = read_varint(message, content)
        elif kind in _FIXED:
            end = content + _FIXED[kind]
        else:
            raise ValueError(f"the graph has a field of the unknown kind {kind}: its file is damaged")
        yield FieldSpan(tag >> 3, start, content, end)
        start = end


def parts(message: memoryview, number: int) -> Iterator[memoryview]:
    """Yield the values of all fields with a number."""
    return (message[field.content : field.end] for field in fields(message) if field.number == number)


def read_varint(message: memoryview, start: int) -> tuple[int, int]:
    """Decode a number of seven bits per byte, lowest first; return it and the offset after it."""
    value = shift = 0
    for offset in range(start, min(start + _LONGEST_VARINT, len(message))):
        value |= (message[offset] & 0x7F) << shift
        shift += 7
        if message[offset] < 0x80:  # noqa: PLR2004 - the eighth bit says that another byte follows
            return value, offset + 1
    raise ValueError("the graph ends within a number: its file is damaged")


def integers(message: memoryview, number: int) -> list[int]:
    """Return the values of a field of non-negative integers, packed or repeated."""
    values: list[int] = []
    for field in fields(message):
        offset = field.content if field.number == number else field.end
        while offset < field.end:
            value, offset = read_varint(message, offset)
            values.append(value)
    return values


def bytes_field(number: int, pieces: Iterable[memoryview | bytes]) -> bytes:
    """Encode a field of a message or of bytes."""
    content = b"".join(pieces)
    return encode_varint(number << 3 | _DELIMITED) + encode_varint(len(content)) + content


def integer_field(number: int, value: int) -> bytes:
    """Encode a field of a non-negative integer."""
    return encode_varint(number << 3 | _VARINT) + encode_varint(value)


def encode_varint(value: int) -> bytes:
    """Encode a non-negative number, seven bits per byte, lowest first."""
    encoded = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
