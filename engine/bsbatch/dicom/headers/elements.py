"""Data elements in memory, walked without pydicom: only what follows PS3.5 section 7 to the letter.

Whatever leaves a doubt (an unknown VR, attributes out of order, a value of another VR than its attribute's) is an
`UnclearError`; pydicom then decides.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from pydicom.datadict import dictionary_VR

from bsbatch.dicom.headers.attributes import CHARACTER_SET, Attribute

_EXPLICIT = struct.Struct("<HH2sH").unpack_from
_IMPLICIT = struct.Struct("<HHI").unpack_from
_LENGTH = struct.Struct("<I").unpack_from

_SHORT = b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split()
_LONG = b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split()
_HEAD_BYTES = dict.fromkeys(_SHORT, 8) | dict.fromkeys(_LONG, 12)
"""Explicit VR -> bytes in front of the value, PS3.5 section 7.1.2."""
_SHORT_HEAD = 8

UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_OF_AN_ITEM = range(0xFFFE0000)
_MAX_FRAGMENTS = 1 << 16

Wanted = Mapping[int, Attribute]
"""By tag."""
Found = dict[str, bytes]
"""Keyword -> value, as it lies in the file."""


class UnclearError(Exception):
    """The bytes can be read in more than one way; it never leaves `bsbatch.dicom`."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where an element lies."""

    tag: int
    start: int
    value: int
    end: int
    is_nested: bool
    """Whether it is of undefined length, so that its value says where it ends."""


@dataclass(frozen=True, slots=True)
class Walker:
    """Walks datasets of one encoding; where the bytes end too early it raises `struct.error`."""

    data: bytes
    is_implicit: bool

    def dataset(self, start: int, end: int, tags: range, wanted: Wanted) -> tuple[Found, int]:
        """Walk from a position to another one, or to a tag.

        Parameters
        ----------
        start, end
            First byte, and the one behind the dataset.
        tags
            A smaller one is unclear; the walk stops in front of a larger one.
        wanted
            The attributes to keep.

        Returns
        -------
        Their values, and the position where the walk stopped.
        """
        walk = self._implicit if self.is_implicit else self._explicit
        try:
            return walk(start, end, tags, wanted)
        except KeyError as error:
            raise UnclearError("an unknown VR") from error

    def items(self, wanted: Wanted) -> list[Found]:
        """The wanted attributes of each item, where ``data`` is the value of a sequence."""
        found: list[Found] = []
        position, end = 0, len(self.data)
        while position < end:
            group, element, length = _IMPLICIT(self.data, position)
            if group << 16 | element == _SEQUENCE_END and position + _SHORT_HEAD == end:
                break
            check(group << 16 | element == _ITEM)
            attributes, position = self._item(position + _SHORT_HEAD, length, wanted)
            found.append(attributes)
        return found

    def spans(self, start: int, stop: int) -> Iterator[Span]:
        """Where each element lies, of what `dataset` has walked."""
        position = start
        while position < stop:
            group, element, length = _IMPLICIT(self.data, position)
            value = position + _SHORT_HEAD
            if not self.is_implicit:
                vr, length = self.data[position + 4 : position + 6], length >> 16
                value = position + _HEAD_BYTES[vr]
                length = _LENGTH(self.data, value - 4)[0] if _HEAD_BYTES[vr] != _SHORT_HEAD else length
            is_nested = length == UNDEFINED
            end = value + (self._undefined(True, value) if is_nested else length)
            yield Span(group << 16 | element, position, value, end, is_nested)
            position = end

    def _explicit(self, start: int, end: int, tags: range, wanted: Wanted) -> tuple[Found, int]:
        """Runs once for each element of an archive, so it makes no call that can be spared; nor does the next one."""
        data, position, previous, last = self.data, start, tags.start - 1, tags.stop
        found: Found = {}
        while position < end:
            group, element, vr, length = _EXPLICIT(data, position)
            tag = group << 16 | element
            if tag >= last:
                return found, position
            value = position + _HEAD_BYTES[vr]
            if _HEAD_BYTES[vr] != _SHORT_HEAD:
                length = _LENGTH(data, position + _SHORT_HEAD)[0]
                if length == UNDEFINED:
                    length = self._undefined(vr == b"SQ", value)
            position = value + length
            if tag <= previous or (tag in wanted and vr != wanted[tag].vr):
                raise UnclearError
            if tag in wanted:
                found[wanted[tag].keyword] = data[value:position]
            previous = tag
        return self._whole(found, position)

    def _implicit(self, start: int, end: int, tags: range, wanted: Wanted) -> tuple[Found, int]:
        data, position, previous, last = self.data, start, tags.start - 1, tags.stop
        found: Found = {}
        while position < end:
            group, element, length = _IMPLICIT(data, position)
            tag = group << 16 | element
            if tag >= last:
                return found, position
            value = position + _SHORT_HEAD
            if length == UNDEFINED:
                length = self._undefined(_is_sequence(tag), value)
            position = value + length
            if tag <= previous:
                raise UnclearError
            if tag in wanted:
                found[wanted[tag].keyword] = data[value:position]
            previous = tag
        return self._whole(found, position)

    def _whole(self, found: Found, position: int) -> tuple[Found, int]:
        """What was found up to the end of the dataset, if the last value is there to its end."""
        if position > len(self.data):
            raise struct.error
        return found, position

    def _undefined(self, is_sequence: bool, start: int) -> int:
        """Bytes of a sequence of undefined length, its delimiter among them, PS3.5 section 7.5.2."""
        check(is_sequence)
        position = start
        while True:
            group, element, length = _IMPLICIT(self.data, position)
            tag, position = group << 16 | element, position + _SHORT_HEAD
            if tag == _SEQUENCE_END:
                check(length == 0)
                return position - start
            check(tag == _ITEM)
            _, position = self._item(position, length, CHARACTER_SET)

    def _item(self, start: int, length: int, wanted: Wanted) -> tuple[Found, int]:
        """An item's attributes, and the position behind it; one with a character set of its own is left to pydicom."""
        if length != UNDEFINED:
            found, stop = self.dataset(start, start + length, _OF_AN_ITEM, wanted)
            check(stop == start + length)
        else:
            found, stop = self.dataset(start, len(self.data) + 1, _OF_AN_ITEM, wanted)
            check(_IMPLICIT(self.data, stop) == (_ITEM_END >> 16, _ITEM_END & 0xFFFF, 0))
            stop += _SHORT_HEAD
        check("SpecificCharacterSet" not in found)
        return found, stop


def check(is_clear: bool) -> None:
    """Leave to pydicom what is not clear.

    Raises
    ------
    UnclearError
        It is not.
    """
    if not is_clear:
        raise UnclearError


def are_fragments_whole(stream: BinaryIO, start: int, size: int) -> bool:
    """Whether the fragments of PS3.5 section A.4 all lie inside the file.

    Parameters
    ----------
    stream
        The object, seekable.
    start, size
        Where the fragments begin, and the length of the file.
    """
    position = start
    for _ in range(_MAX_FRAGMENTS):
        stream.seek(position)
        head = stream.read(_SHORT_HEAD)
        if len(head) < _SHORT_HEAD:
            return False
        group, element, length = _IMPLICIT(head)
        tag = group << 16 | element
        if tag != _ITEM:  # the end, or damaged in another way: the decoder will say how
            return True
        position += _SHORT_HEAD + int(length)
        if position > size:
            return False
    return True


def _is_sequence(tag: int) -> bool:
    """Whether an element of implicit VR is known to be a sequence."""
    try:
        return bool(dictionary_VR(tag) == "SQ")
    except KeyError:  # a private one, and nobody knows
        return False
