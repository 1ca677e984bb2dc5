"""Central directory of a zip file, read as a stream (PKWARE APPNOTE 6.3.10, sections 4.3 and 4.4)."""

import os
import stat
import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from bsbatch.errors import ItemError
from bsbatch.reasons import Reason
from bsbatch.sources.containers.names import CLIMBS, Namer, climbs_out, extra_field, row_name, zip_name
from bsbatch.sources.containers.reading import SharedFile

STORED, DEFLATED = 0, 8
LOCAL = struct.Struct("<4s2xHH4xIIIHH")
"""Local header: signature, flags, method, CRC-32, compressed size, size, lengths of name and extra field."""
LOCAL_MAGIC = b"PK\x03\x04"
LARGE = 0xFFFFFFFF
"""A size or offset that the zip64 extra field holds."""
_END = struct.Struct("<4s4HIIH")
_END_MAGIC, _LONGEST_END = b"PK\x05\x06", 22 + 0xFFFF
_LOCATOR = struct.Struct("<4sIQI")
_LOCATOR_MAGIC = b"PK\x06\x07"
_END64 = struct.Struct("<4sQ2H2I4Q")
_END64_MAGIC = b"PK\x06\x06"
_CENTRAL = struct.Struct("<4s4xHH4xIIIHHHH2xII")
_CENTRAL_MAGIC = b"PK\x01\x02"
_ZIP64 = 0x0001
_PIECE = 1 << 18
_LONGEST_CENTRAL = _CENTRAL.size + 3 * 0xFFFF
_ENCRYPTED, _PATCHED = 1 | 1 << 6 | 1 << 13, 1 << 5
_BEST_RATIO, _SMALLEST = 1032, 64
"""Deflate's largest ratio, and a margin in bytes (zlib's technical details)."""
_FARTHEST, _ZIP64_DISK = (1 << 64) - 1, 0xFFFF
_SHARED = "it shares bytes with another member, as in a zip bomb: unpack it by hand if you know where it comes from"
_ADVICE = "Copy the file again. If this is the only copy, `zip -FF` may rebuild the directory"
_PARTS = "a zip of several parts: put them together (`zip -s 0 parts.zip --out whole.zip`)"
LYING = "its sizes contradict one another, or its data: copy the archive again, or unpack it by hand"
_NO_END = f"the zip has no directory at its end: it was cut short. {_ADVICE}"
_BAD = f"the directory of the zip is damaged. {_ADVICE}"


class Directory(NamedTuple):
    """Position of a central directory."""

    start: int
    """Offset in the file."""
    size: int
    """Bytes."""
    lead: int
    """Bytes before the archive, a self-extracting program for example; added to all offsets."""


class ZipMember(NamedTuple):
    """One member that is no folder."""

    name: str
    """As rows name it, behind the path of the container."""
    offset: int
    """Of its local header in the file."""
    end: int
    """Offset at which the next member, or the directory, begins."""
    stored: int
    """Bytes in the file."""
    size: int
    """Bytes inflated, as declared."""
    crc: int
    """CRC-32 of the inflated bytes."""
    method: int
    problem: str | None
    """Set if it is not read; advice for people."""


_Record = tuple[int, int, int, int, int, int, int, int, bytes, bytes]
"""Flags, method, CRC-32, compressed size, size, disk, external attributes, offset, name, extra field."""


def find_directory(file: SharedFile) -> Directory | None:
    """Find the central directory; None if the file has no end record.

    Raises
    ------
    ItemError
        The archive has several parts, or its end record contradicts the file.
    """
    length = file.size()
    tail = os.pread(file.fileno(), _LONGEST_END, max(0, length - _LONGEST_END))
    at = _find_end(tail)
    if at is None:
        return None
    _, disk, first_disk, here, entries, size, start, _ = _END.unpack_from(tail, at)
    end = length - len(tail) + at
    if found := _find_end64(file, end):
        end, disk, first_disk, here, entries, size, start = found
    if disk or first_disk or here != entries:
        raise ItemError(Reason.CONTAINER_NOT_OPENED, _PARTS)
    lead = end - size - start
    if lead < 0:
        raise ItemError(Reason.CONTAINER_NOT_OPENED, _BAD)
    return Directory(start + lead, size, lead)


def _find_end(tail: bytes) -> int | None:
    """Find the last end record whose comment ends with the file, else the last one: a comment may hold its magic."""
    last, at = None, len(tail)
    while (at := tail.rfind(_END_MAGIC, 0, at + len(_END_MAGIC) - 1)) >= 0:
        if len(tail) - at >= _END.size:
            if at + _END.size + _END.unpack_from(tail, at)[-1] == len(tail):
                return at
            last = at if last is None else last
    return last


def _find_end64(file: SharedFile, end: int) -> tuple[int, int, int, int, int, int, int] | None:
    """Read the zip64 end record before the locator, which stands before the end record (APPNOTE 4.3.14, 4.3.15)."""
    at = end - _LOCATOR.size - _END64.size
    data = os.pread(file.fileno(), _END64.size + _LOCATOR.size, at) if at >= 0 else b""
    if data[_END64.size :][:4] != _LOCATOR_MAGIC:
        return None
    _, disk, _, disks = _LOCATOR.unpack_from(data, _END64.size)
    if disk or disks > 1:
        raise ItemError(Reason.CONTAINER_NOT_OPENED, _PARTS)
    magic, _, _, _, disk, first_disk, here, entries, size, start = _END64.unpack_from(data)
    return (at, disk, first_disk, here, entries, size, start) if magic == _END64_MAGIC else None


def zip_members(file: SharedFile, directory: Directory) -> Iterator[ZipMember]:
    """Yield the members in the order of the directory. It is read twice; 16 bytes for each member are held.

    Raises
    ------
    ItemError
        The directory is damaged; the members before the damage have been yielded.
    """
    starts, namer = _survey(file, directory)
    for number, record in enumerate(_records(file, directory)):
        flags, method, crc, stored, size, _, _, offset, raw, extra = record
        if raw.endswith(b"/") and not size:
            continue
        after = bisect_right(starts, offset)
        end = min(starts[after], directory.start) if after < len(starts) else directory.start
        is_shared = after > 1 and starts[after - 2] == offset
        name = zip_name(raw, flags, extra)
        problem = CLIMBS if climbs_out(name) else _overlap(record, end, is_shared) or _problem(record)
        yield ZipMember(namer.name(name, number), offset, end, stored, size, crc, method, problem)


def _survey(file: SharedFile, directory: Directory) -> "tuple[array[int], Namer]":
    """Return the offsets of all local headers, sorted, and what names members."""
    starts, names = array("Q"), array("q")
    with suppress(ItemError):  # raised again where the members end
        for record in _records(file, directory):
            starts.append(record[-3])
            names.append(hash(row_name(zip_name(record[-2], record[0], record[-1]))))
    for numbers in (starts, names):
        np.frombuffer(numbers, numbers.typecode).sort() if numbers else None
    return starts, Namer(names)


def _records(file: SharedFile, directory: Directory) -> Iterator[_Record]:
    data, position = b"", 0
    unread, left = directory.start, directory.size
    while left or position < len(data):
        if left and len(data) - position < _LONGEST_CENTRAL:
            more = os.pread(file.fileno(), min(_PIECE, left), unread)
            if not more:
                raise ItemError(Reason.CONTAINER_NOT_OPENED, _BAD)
            data, position = data[position:] + more, 0
            unread, left = unread + len(more), left - len(more)
            continue
        try:
            fields = _CENTRAL.unpack_from(data, position)
        except struct.error as error:
            raise ItemError(Reason.CONTAINER_NOT_OPENED, _BAD) from error
        magic, flags, method, crc, stored, size, name, extra, comment, disk, attributes, offset = fields
        begin = position + _CENTRAL.size
        middle = begin + name
        position = middle + extra + comment
        if magic != _CENTRAL_MAGIC or position > len(data):
            raise ItemError(Reason.CONTAINER_NOT_OPENED, _BAD)
        field = data[middle : middle + extra] if extra else b""
        if LARGE in (stored, size, offset):
            size, stored, offset = _large(field, size, stored, offset)
        offset = min(offset + directory.lead, _FARTHEST)
        yield flags, method, crc, stored, size, disk, attributes, offset, data[begin:middle], field


def _large(extra: bytes, *values: int) -> tuple[int, ...]:
    """Replace the values that are too large for their fields by those of the zip64 extra field (APPNOTE 4.5.3)."""
    field = extra_field(extra, _ZIP64)
    needed = sum(value == LARGE for value in values)
    if len(field) < 8 * needed:
        raise ItemError(Reason.CONTAINER_NOT_OPENED, _BAD)
    large = iter(struct.unpack_from(f"<{needed}Q", field))
    return tuple(next(large) if value == LARGE else value for value in values)


def _overlap(record: _Record, end: int, is_shared: bool) -> str | None:
    _, _, _, stored, _, _, _, offset, name, _ = record
    return _SHARED if is_shared or offset + LOCAL.size + len(name) + stored > end else None


def _problem(record: _Record) -> str | None:
    flags, method, _, stored, size, disk, attributes, *_ = record
    if flags & _ENCRYPTED:
        return "encrypted: unpack it with its password, and run again over the files"
    if method not in (STORED, DEFLATED) or flags & _PATCHED:
        return f"compressed by method {method}, which bsbatch does not read: unpack it, or pack it with deflate"
    if disk not in (0, _ZIP64_DISK):
        return _PARTS
    if stat.S_ISLNK(attributes >> 16):
        return "a link: pack the archive again without --symlinks"
    is_possible = size == stored if method == STORED else size <= _BEST_RATIO * stored + _SMALLEST
    return None if is_possible else LYING


def missing_end() -> ItemError:
    """Error of a zip that was cut short."""
    return ItemError(Reason.CONTAINER_NOT_OPENED, _NO_END)
