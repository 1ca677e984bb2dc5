"""Decodes frames of RLE Lossless, PS3.5 annex G, to no more bytes than an image has.

pydicom's decoder holds all bytes that a segment is decoded to, 64 for each of its own.
"""

import struct

import numpy as np
from numpy.typing import NDArray

_HEADER = struct.Struct("<16L")
_LONGEST_RUN = 128
_BYTE = 8


def decode_frame(data: bytes, shape: tuple[int, int], bits: int) -> NDArray[np.unsignedinteger]:
    """Decode a frame.

    Parameters
    ----------
    data
        The header and the segments, the first of which has the most significant bytes.
    shape
        Rows and columns.
    bits
        Bits Allocated.

    Returns
    -------
    ``(rows, columns)`` unsigned integers.

    Raises
    ------
    NotImplementedError
        The samples are no whole bytes.
    ValueError
        There are fewer or more segments than bytes in a sample, or a segment has fewer bytes than pixels.
    struct.error
        The data end within the header.
    """
    if bits % _BYTE:
        raise NotImplementedError
    number, *offsets = _HEADER.unpack_from(data)
    if number != bits // _BYTE:
        raise ValueError("another number of segments")
    ends = [*offsets[1:number], len(data)]
    decoded = np.empty((*shape, number), np.uint8)
    for segment, (start, end) in enumerate(zip(offsets, ends, strict=False)):
        decoded[..., number - 1 - segment] = np.frombuffer(
            _decode(data[start:end], shape[0] * shape[1]), np.uint8
        ).reshape(shape)
    return decoded.view(f"<u{number}")[..., 0]


def _decode(segment: bytes, size: int) -> bytearray:
    """Decode the first ``size`` bytes of a segment. A run has 128 at most, so that few runs need a look at the sum."""
    decoded, position = bytearray(), 0
    extend = decoded.extend
    try:
        while len(decoded) < size:
            for _ in range(-(-(size - len(decoded)) // _LONGEST_RUN)):
                control = segment[position]
                if control > _LONGEST_RUN:
                    extend(segment[position + 1 : position + 2] * (2 * _LONGEST_RUN + 1 - control))
                    position += 2
                elif control < _LONGEST_RUN:
                    extend(segment[position + 1 : position + control + 2])
                    position += control + 2
                else:
                    position += 1
    except IndexError:
        raise ValueError("a segment with fewer bytes than pixels") from None
    del decoded[size:]
    return decoded
