"""Sizes and precision of code streams: JPEG (ISO/IEC 10918-1), JPEG-LS (14495-1), JPEG 2000 and HTJ2K (15444).

A decoder allocates the image that a code stream announces before it decodes a sample of it, so both are compared with
the header of the object first.
"""

import struct
from typing import NamedTuple

_MARKER, _START_OF_SCAN, _FILL = 0xFF, 0xDA, 0xFF
_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))
"""Markers without a segment: TEM, RST0 to RST7 and SOI."""
_STARTS_OF_FRAME = frozenset((*range(0xC0, 0xD0), 0xF7)) - {0xC4, 0xC8, 0xCC}
_START_OF_JPEG, _START_OF_J2K = b"\xff\xd8", b"\xff\x4f\xff\x51"
"""SOI; SOC and SIZ."""
_SIGNATURE_BOX = b"\0\0\0\x0cjP  "
_FRAME_HEADER = struct.Struct(">BHHB").unpack_from
"""P, Y, X and Nf, behind the length, 10918-1 section B.2.2 and 14495-1 section C.2.2."""
_SIZ = struct.Struct(">4I").unpack_from
"""Xsiz, Ysiz, XOsiz and YOsiz, 15444-1 section A.5.1."""


class Form(NamedTuple):
    """What a code stream announces."""

    rows: int
    """0 if a marker behind the first scan gives it."""
    columns: int
    components: int
    precision: int
    """Bits of a sample."""


def form_of(codestream: bytes) -> Form | None:
    """Read what a code stream announces; None if it is of another kind, or damaged before its size."""
    try:
        if codestream.startswith(_START_OF_JPEG):
            return _form_of_jpeg(codestream)
        return _form_of_j2k(codestream, _find_j2k(codestream))
    except (struct.error, IndexError, ValueError):  # it ends too early
        return None


def _form_of_jpeg(codestream: bytes) -> Form | None:
    position = len(_START_OF_JPEG)
    while True:
        position = codestream.index(_MARKER, position)  # decoders skip what stands between the segments
        marker = codestream[position + 1]
        if marker in _STARTS_OF_FRAME:
            precision, rows, columns, components = _FRAME_HEADER(codestream, position + 4)
            return Form(rows, columns, components, precision)
        if marker == _START_OF_SCAN:
            return None
        position += _length_of(codestream, position, marker)


def _length_of(codestream: bytes, position: int, marker: int) -> int:
    if marker == _FILL:
        return 1
    return 2 if marker in _ALONE else 2 + int(struct.unpack_from(">H", codestream, position + 2)[0])


def _form_of_j2k(codestream: bytes, start: int) -> Form | None:
    if codestream[start : start + len(_START_OF_J2K)] != _START_OF_J2K:
        return None
    right, bottom, left, top = _SIZ(codestream, start + 8)
    components = int(struct.unpack_from(">H", codestream, start + 40)[0])
    return Form(bottom - top, right - left, components, (codestream[start + 42] & 0x7F) + 1)


def _find_j2k(codestream: bytes) -> int:
    """Offset of the code stream, also inside the boxes of a JP2 file, 15444-1 section I.4."""
    position = 0
    if codestream.startswith(_SIGNATURE_BOX):
        while codestream[position + 4 : position + 8] != b"jp2c":
            length = int(struct.unpack_from(">I", codestream, position)[0])
            if length < len(_SIGNATURE_BOX):  # of a box of more than 4 GiB, of the last one, or none at all
                return len(codestream)
            position += length
        position += len(_SIGNATURE_BOX)
    return position
