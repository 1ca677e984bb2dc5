"""Reads the fragments of encapsulated pixel data, PS3.5 section A.4, no more of them than an image can need."""

import struct
from itertools import pairwise
from typing import BinaryIO

from bsbatch.errors import ItemError
from bsbatch.host import limits
from bsbatch.reasons import EXPLANATIONS, Reason

_HEAD_BYTES = 8
_ITEM, _END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)


def read_fragments(stream: BinaryIO, offset: int, most: int) -> bytes:
    """Read the Basic Offset Table and all fragments, with their heads and without the delimiter behind them.

    Parameters
    ----------
    stream
        The object, seekable.
    offset
        That of the Basic Offset Table.
    most
        Bytes that the image can need.

    Raises
    ------
    ItemError
        ``too_large``; ``truncated_pixel_data``; or ``decode_failed``: something else stands between the fragments, or
        the Basic Offset Table is not in ascending order.
    """
    stream.seek(offset)
    parts: list[bytes] = []
    for _ in range(limits.FRAGMENTS):
        head = read_up_to(stream, _HEAD_BYTES)
        group, element, length = struct.unpack("<HHI", _check_length(head, _HEAD_BYTES))
        if (group, element) == _END:
            _check_table(parts[0] if parts else b"")
            return b"".join(parts)
        if (group, element) != _ITEM:
            raise ItemError(Reason.DECODE_FAILED, "something else than a fragment stands in the pixel data")
        most -= _HEAD_BYTES + length
        if most < 0:
            break
        parts.append(head + _check_length(read_up_to(stream, length), length))
    raise ItemError(Reason.TOO_LARGE, "the fragments are larger than such an image can need (docs/tables.md, Limits)")


def read_up_to(stream: BinaryIO, count: int) -> bytes:
    """Read until ``count`` bytes or the end: an unbuffered file, for example on a network, may return fewer."""
    data = stream.read(count)
    while 0 < len(data) < count and (more := stream.read(count - len(data))):
        data += more
    return data


def _check_length(data: bytes, length: int) -> bytes:
    if len(data) < length:
        raise ItemError(Reason.TRUNCATED_PIXEL_DATA, EXPLANATIONS[Reason.TRUNCATED_PIXEL_DATA])
    return data


def _check_table(item: bytes) -> None:
    """Check that no frame begins before the one that it follows: decoders would exchange them."""
    offsets = [offset for (offset,) in struct.iter_unpack("<I", item[_HEAD_BYTES : len(item) // 4 * 4])]
    if any(later <= earlier for earlier, later in pairwise(offsets)):
        raise ItemError(Reason.DECODE_FAILED, "the Basic Offset Table is not in ascending order")
