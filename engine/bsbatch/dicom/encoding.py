"""Offset of the first data element of a file, and encoding of a data set, from bytes and not from what is claimed."""

import re
import struct
from typing import NamedTuple

from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from bsbatch.errors import ItemError
from bsbatch.reasons import EXPLANATIONS, Reason

_SHORT = b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split()
_LONG = b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split()
HEAD_BYTES = dict.fromkeys(_SHORT, 8) | dict.fromkeys(_LONG, 12)
"""Explicit VR -> bytes before the value, PS3.5 section 7.1.2."""
SHORT_HEAD = 8

UNDEFINED = 0xFFFFFFFF
"""Length of elements that end with a delimiter, PS3.5 section 7.5."""

AFTER_PREFIX = 132
"""Offset of the file meta information behind preamble and prefix, PS3.10 section 7.1."""
_PREFIX, _PREFIX_BYTES = b"DICM", 4
FIRST_GROUPS = frozenset({b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08"})
"""Groups 0002 and 0008 in either order: files without a preamble begin with one of them."""
_PREFIX_AND_META = re.compile(rb"DICM\x02\x00[\x00-\x16]\x00[A-Z]{2}")
_NATIVE = frozenset({"", ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian})
_ENCAPSULATED = re.compile(r"1\.2\.840\.10008\.1\.2\.(4\.\d+(\.1)?|5)")
_VR = slice(4, 6)
_EMPTY = "an empty file: copy it again if it was a DICOM file"
_ZEROS = "nothing but zeros: copy it again if it was a DICOM file"


class Encoding(NamedTuple):
    """Encoding of a data set, PS3.5 section 7."""

    is_implicit: bool
    is_little: bool

    @property
    def syntax(self) -> str:
        """Transfer syntax of native pixel data in this encoding. That of big endian, even if implicit, is explicit."""
        if not self.is_little:
            return str(ExplicitVRBigEndian)
        return str(ImplicitVRLittleEndian if self.is_implicit else ExplicitVRLittleEndian)


def find_first_element(head: bytes) -> int:
    """Return the offset of the file meta information, or of the data set of a file without it.

    Files without a preamble begin with the prefix, or with group 0002 or 0008. If such a file holds ``DICM`` at byte
    128, as a part of a value, its elements are followed across.

    Parameters
    ----------
    head
        The first 8192 bytes of the file, or all of them.

    Raises
    ------
    ItemError
        ``not_dicom``, or ``wrapped`` if a DICOM file begins somewhere else.
    """
    is_bare = head[:2] in FIRST_GROUPS and len(head) >= SHORT_HEAD
    if head[AFTER_PREFIX - _PREFIX_BYTES : AFTER_PREFIX] == _PREFIX and not (is_bare and _has_elements(head)):
        return AFTER_PREFIX
    if is_bare:
        return 0
    if head[:_PREFIX_BYTES] == _PREFIX and head[_PREFIX_BYTES : _PREFIX_BYTES + 2] in FIRST_GROUPS:
        return _PREFIX_BYTES
    if _PREFIX_AND_META.search(head):
        raise ItemError(Reason.WRAPPED, EXPLANATIONS[Reason.WRAPPED])
    empty = _ZEROS if head else _EMPTY
    raise ItemError(Reason.NOT_DICOM, EXPLANATIONS[Reason.NOT_DICOM] if head.strip(b"\0") else empty)


def encoding_of(start: bytes, syntax: str) -> Encoding:
    """Return the encoding of a data set from its first bytes, where they are clear, else that of its syntax.

    An explicit VR is two capital letters. The byte order is that in which the first group is at most 00FF.

    Parameters
    ----------
    start
        The first 6 bytes of the data set, fewer at the end of a file.
    syntax
        (0002,0010) Transfer Syntax UID; empty if absent.
    """
    is_little = syntax != ExplicitVRBigEndian
    if len(start) < _VR.stop:
        return Encoding(syntax in {"", ImplicitVRLittleEndian}, is_little)
    if (start[0] == 0) != (start[1] == 0):
        is_little = start[1] == 0
    vr = start[_VR]
    return Encoding(not (vr.isalpha() and vr.isupper()), is_little)


def is_native(syntax: str) -> bool:
    """Return True for transfer syntaxes whose pixel data are native and whose data set is not deflated."""
    return syntax in _NATIVE


def is_encapsulated(syntax: str) -> bool:
    """Return True for the transfer syntaxes of PS3.5 section A.4."""
    return _ENCAPSULATED.fullmatch(syntax) is not None


def _has_elements(head: bytes) -> bool:
    """Return True if elements in ascending order lead from the first byte across the place of the prefix."""
    order = "<" if head[0] else ">"
    position, previous = 0, -1
    while position <= len(head) - SHORT_HEAD:
        group, element = struct.unpack_from(order + "HH", head, position)
        tag = group << 16 | element
        if tag <= previous:
            return False
        if position >= AFTER_PREFIX:
            return True
        position, previous = _end_of_element(head, position, order), tag
    return False


def _end_of_element(head: bytes, position: int, order: str) -> int:
    value = position + HEAD_BYTES.get(head[position:][_VR], SHORT_HEAD)
    is_short = head[position:][_VR] in HEAD_BYTES and value == position + SHORT_HEAD
    code, offset = ("H", position + 6) if is_short else ("I", value - 4)
    return value + int(struct.unpack_from(order + code, head, offset)[0]) if offset + 4 <= len(head) else len(head)
