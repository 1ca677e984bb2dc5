"""Parser of data elements in memory, for datasets that follow PS3.5 section 7 strictly.

Anything ambiguous (an unknown VR, attributes out of order, another VR than that of the attribute) raises
`UnclearError`; pydicom then reads the header.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from pydicom.datadict import dictionary_VR

from bsbatch.dicom.encoding import HEAD_BYTES, SHORT_HEAD, UNDEFINED
from bsbatch.dicom.headers.attributes import CHARACTER_SET, Attribute

_EXPLICIT = struct.Struct("<HH2sH").unpack_from
_IMPLICIT = struct.Struct("<HHI").unpack_from
_LENGTH = struct.Struct("<I").unpack_from

_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_OF_AN_ITEM = range(0xFFFE0000)
_MAX_FRAGMENTS = 1 << 16

Wanted = Mapping[int, Attribute]
"""Tag -> attribute to extract."""
RawValues = dict[str, bytes]
"""Keyword -> value, undecoded."""


class UnclearError(Exception):
    """The bytes are ambiguous. Caught inside `bsbatch.dicom.headers`."""


@dataclass(frozen=True, slots=True)
class Span:
    """Byte offsets of a data element."""

    tag: int
    start: int
    value: int
    """Offset of its value."""
    end: int
    """Offset of the next element."""
    is_nested: bool
    """True for a sequence of undefined length, whose delimiter marks its end."""


@dataclass(frozen=True, slots=True)
class Walker:
    """Walks datasets of one encoding; raises `struct.error` if the bytes end too early."""

    data: bytes
    is_implicit: bool

    def dataset(self, start: int, end: int, tags: range, wanted: Wanted) -> tuple[RawValues, int]:
        """Extract attributes from one offset up to another, or up to a tag.

        Parameters
        ----------
        start, end
            Offsets of the first byte, and of the first byte after the dataset.
        tags
            A smaller tag is ambiguous; the walk stops before a larger one.
        wanted
            The attributes to extract.

        Returns
        -------
        Their values, and the offset at which the walk stopped.
        """
        walk = self._implicit if self.is_implicit else self._explicit
        try:
            return walk(start, end, tags, wanted)
        except KeyError as error:
            raise UnclearError("an unknown VR") from error

    def items(self, wanted: Wanted) -> list[RawValues]:
        """Extract attributes from each item; ``data`` is the value of a sequence."""
        items: list[RawValues] = []
        position, end = 0, len(self.data)
        while position < end:
            group, element, length = _IMPLICIT(self.data, position)
            if group << 16 | element == _SEQUENCE_END and position + SHORT_HEAD == end:
                break
            check(group << 16 | element == _ITEM)
            attributes, position = self._item(position + SHORT_HEAD, length, wanted)
            items.append(attributes)
        return items

    def spans(self, start: int, stop: int) -> Iterator[Span]:
        """Yield the offsets of each element that `dataset` has walked."""
        position = start
        while position < stop:
            group, element, length = _IMPLICIT(self.data, position)
            value = position + SHORT_HEAD
            if not self.is_implicit:
                vr, length = self.data[position + 4 : position + 6], length >> 16
                value = position + HEAD_BYTES[vr]
                length = _LENGTH(self.data, value - 4)[0] if HEAD_BYTES[vr] != SHORT_HEAD else length
            is_nested = length == UNDEFINED
            end = value + (self._measure_sequence(True, value) if is_nested else length)
            yield Span(group << 16 | element, position, value, end, is_nested)
            position = end

    def _explicit(self, start: int, end: int, tags: range, wanted: Wanted) -> tuple[RawValues, int]:
        """Walk elements of explicit VR. Like `_implicit`, it avoids calls, because it handles every element."""
        data, position, previous, last = self.data, start, tags.start - 1, tags.stop
        raw: RawValues = {}
        while position < end:
            group, element, vr, length = _EXPLICIT(data, position)
            tag = group << 16 | element
            if tag >= last:
                return raw, position
            value = position + HEAD_BYTES[vr]
            if HEAD_BYTES[vr] != SHORT_HEAD:
                length = _LENGTH(data, position + SHORT_HEAD)[0]
                if length == UNDEFINED:
                    length = self._measure_sequence(vr == b"SQ", value)
            position = value + length
            if tag <= previous or (tag in wanted and vr not in wanted[tag].vr):
                raise UnclearError
            if tag in wanted:
                raw[wanted[tag].keyword] = data[value:position]
            previous = tag
        return self._finish(raw, position)

    def _implicit(self, start: int, end: int, tags: range, wanted: Wanted) -> tuple[RawValues, int]:
        data, position, previous, last = self.data, start, tags.start - 1, tags.stop
        raw: RawValues = {}
        while position < end:
            group, element, length = _IMPLICIT(data, position)
            tag = group << 16 | element
            if tag >= last:
                return raw, position
            value = position + SHORT_HEAD
            if length == UNDEFINED:
                length = self._measure_sequence(_is_sequence(tag), value)
            position = value + length
            if tag <= previous:
                raise UnclearError
            if tag in wanted:
                raw[wanted[tag].keyword] = data[value:position]
            previous = tag
        return self._finish(raw, position)

    def _finish(self, raw: RawValues, position: int) -> tuple[RawValues, int]:
        """Return both; raise `struct.error` if the last value is cut off."""
        if position > len(self.data):
            raise struct.error
        return raw, position

    def _measure_sequence(self, is_sequence: bool, start: int) -> int:
        """Return the length of a sequence of undefined length with its delimiter, PS3.5 section 7.5.2."""
        check(is_sequence)
        position = start
        while True:
            group, element, length = _IMPLICIT(self.data, position)
            tag, position = group << 16 | element, position + SHORT_HEAD
            if tag == _SEQUENCE_END:
                check(length == 0)
                return position - start
            check(tag == _ITEM)
            _, position = self._item(position, length, CHARACTER_SET)

    def _item(self, start: int, length: int, wanted: Wanted) -> tuple[RawValues, int]:
        """Extract an item's attributes; return the offset after it, too. Its own character set would be ambiguous."""
        if length != UNDEFINED:
            raw, stop = self.dataset(start, start + length, _OF_AN_ITEM, wanted)
            check(stop == start + length)
        else:
            raw, stop = self.dataset(start, len(self.data) + 1, _OF_AN_ITEM, wanted)
            check(_IMPLICIT(self.data, stop) == (_ITEM_END >> 16, _ITEM_END & 0xFFFF, 0))
            stop += SHORT_HEAD
        check("SpecificCharacterSet" not in raw)
        return raw, stop


def check(is_clear: bool) -> None:
    """Raise if the bytes are ambiguous, so that pydicom reads them.

    Raises
    ------
    UnclearError
        ``is_clear`` is false.
    """
    if not is_clear:
        raise UnclearError


def are_fragments_whole(stream: BinaryIO, start: int, size: int) -> bool:
    """Return True if all fragments of encapsulated pixel data (PS3.5 section A.4) end inside the file.

    Parameters
    ----------
    stream
        The object, seekable.
    start, size
        Offset of the first fragment, and length of the file in bytes.
    """
    position = start
    for _ in range(_MAX_FRAGMENTS):
        stream.seek(position)
        head = stream.read(SHORT_HEAD)
        if len(head) < SHORT_HEAD:
            return False
        group, element, length = _IMPLICIT(head)
        tag = group << 16 | element
        if tag != _ITEM:  # the end, or other damage, which the decoder will report
            return True
        position += SHORT_HEAD + int(length)
        if position > size:
            return False
    return True


def _is_sequence(tag: int) -> bool:
    """Look up in the data dictionary whether an element of implicit VR is a sequence."""
    try:
        return bool(dictionary_VR(tag) == "SQ")
    except KeyError:  # private or unknown
        return False
