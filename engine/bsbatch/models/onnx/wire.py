"""Serialised messages taken apart and put together without a package: where a field begins and ends.

Source: Protocol Buffers, "Encoding".
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

_VARINT, _DELIMITED = 0, 2
_FIXED = {1: 8, 5: 4}
"""Bytes of the kinds that have always as many."""


class Field(NamedTuple):
    """One field of a message."""

    number: int
    start: int
    """Its first byte."""
    content: int
    """The first byte of what it holds."""
    end: int


def fields(message: memoryview) -> Iterator[Field]:
    """All fields, in their order.

    Raises
    ------
    ValueError
        The message ends within a number, or is none.
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
            raise ValueError(f"the graph has a field of kind {kind}, which there is none of: its file is damaged")
        yield Field(tag >> 3, start, content, end)
        start = end


def parts(message: memoryview, number: int) -> Iterator[memoryview]:
    """What the fields of a number hold."""
    return (message[field.content : field.end] for field in fields(message) if field.number == number)


def read_varint(message: memoryview, start: int) -> tuple[int, int]:
    """A number of seven bits in each byte, the lowest first, and where it ends."""
    value = shift = 0
    for place in range(start, len(message)):
        value |= (message[place] & 0x7F) << shift
        shift += 7
        if message[place] < 0x80:  # noqa: PLR2004 - the eighth bit says that another byte follows
            return value, place + 1
    raise ValueError("the graph ends within a number: its file is damaged")


def integers(message: memoryview, number: int) -> list[int]:
    """The values of a field of integers that are not negative, packed into one or repeated."""
    found: list[int] = []
    for field in fields(message):
        place = field.content if field.number == number else field.end
        while place < field.end:
            value, place = read_varint(message, place)
            found.append(value)
    return found


def bytes_field(number: int, pieces: Iterable[memoryview | bytes]) -> bytes:
    """A field that holds a message or bytes."""
    content = b"".join(pieces)
    return encode_varint(number << 3 | _DELIMITED) + encode_varint(len(content)) + content


def integer_field(number: int, value: int) -> bytes:
    """A field that holds an integer."""
    return encode_varint(number << 3 | _VARINT) + encode_varint(value)


def encode_varint(value: int) -> bytes:
    """Encode a number."""
    encoded = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
