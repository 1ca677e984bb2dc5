"""Members of a tar, read forward (POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar, "Basic Tar Format")."""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from bsbatch.errors import ItemError
from bsbatch.reasons import Reason

_BLOCK = 512
_END = bytes(_BLOCK)
_NAME, _SIZE, _TIME, _SUM, _TYPE = slice(0, 100), slice(124, 136), slice(136, 148), slice(148, 156), slice(156, 157)
_LINK, _MAGIC, _PREFIX = slice(157, 257), slice(257, 263), slice(345, 500)
_SIGNED = struct.Struct("148b8x356b")
_REGULAR, _FOLDERS = b"0\0 7", b"5D"
_LINKS, _DEVICES = b"12", b"346"
_WITHOUT_DATA = _LINKS + _DEVICES + b"5"
_GNU_NAME, _GNU_LINK, _PAX, _PAX_GLOBAL = b"L", b"K", b"xX", b"g"
_LABEL = b"V"
_BINARY = 0x80, 0xFF
"""First bytes of positive and of negative binary numbers."""
_NEWER = 1 << 20
"""Bytes of a header that extends another: a path, and what pax adds."""
_WANTED, _HOLES = frozenset({b"path", b"linkpath", b"size", b"mtime"}), b"GNU.sparse"
_RECORD = re.compile(rb"(\d{1,7}) ([^=]+)=")
_SPARSE = "a file with holes that tar left out: pack the archive again without --sparse"
_PART = "one part of a file over several volumes: put the volumes together and pack them again"
_LINK_REFUSED = "a link: pack the archive again with --dereference"
_DEVICE = "a pipe or device, not a file"
DAMAGED = "a damaged tar: what stands behind this place was not read. Copy the archive again"


class Forward(Protocol):
    """Bytes that are read forward."""

    offset: int
    """Bytes read or skipped so far."""

    def read(self, count: int) -> bytes:
        """Read bytes; fewer only at the end."""
        ...

    def skip_to(self, offset: int) -> bool:
        """Go forward to an offset; return False if the bytes end before it."""
        ...


class TarMember(NamedTuple):
    """One member that is no folder."""

    name: str
    offset: int
    """Of its data."""
    size: int
    time: str
    """Time of last change, seconds since 1970, as written in the header."""
    problem: str | None = None
    """Set if it is not read; advice for people."""
    target: str | None = None
    """Name of the earlier member that a hard link stands for."""


def is_header(block: bytes) -> bool:
    """Return True for a block with the checksum of a header."""
    if len(block) < _BLOCK or not block[0]:
        return False
    try:
        claimed = _number(block[_SUM])
    except ValueError:
        return False
    total = sum(block) - sum(block[_SUM]) + 8 * ord(" ")
    return claimed in (total, sum(_SIGNED.unpack(block)) + 8 * ord(" "))


def tar_members(stream: Forward) -> Iterator[TarMember]:
    """Yield the members of a tar that begins at the stream's first byte, with the stream at their data.

    The caller may read the data before it takes the next member. Archives that were joined are read to the last.

    Raises
    ------
    ItemError
        The archive is damaged; the members before the damage have been yielded.
    """
    defaults: dict[str, str] = {}
    more: dict[str, str] = {}
    is_behind_end = False
    while block := stream.read(_BLOCK):
        if block == _END:
            is_behind_end = True
            continue
        if not is_header(block):
            if is_behind_end:
                return
            raise ItemError(Reason.CONTAINER_NOT_OPENED, DAMAGED)
        is_behind_end = False
        kind, end = block[_TYPE], stream.offset
        if kind in _GNU_NAME + _GNU_LINK + _PAX + _PAX_GLOBAL:
            end += _number_of(block[_SIZE])
            _extend(defaults if kind == _PAX_GLOBAL else more, kind, stream, end)
        else:
            member = _member(block, defaults | more, stream.offset)
            end += 0 if kind in _WITHOUT_DATA else member.size
            more = {}
            if kind not in _FOLDERS + _LABEL and not (kind == b"\0" and member.name.endswith("/")):
                yield member
        _skip(stream, end)


def _skip(stream: Forward, end: int) -> None:
    """Go to the block behind a member. The padding of the last one may be missing."""
    if not stream.skip_to(-(-end // _BLOCK) * _BLOCK) and stream.offset < end:
        raise ItemError(Reason.CONTAINER_NOT_OPENED, DAMAGED)


def _extend(more: dict[str, str], kind: bytes, stream: Forward, end: int) -> None:
    """Read the data of a header that extends the next one, or all."""
    count = end - stream.offset
    data = stream.read(count) if count <= _NEWER else b""
    if len(data) < count:
        raise ItemError(Reason.CONTAINER_NOT_OPENED, DAMAGED)
    if kind in _PAX + _PAX_GLOBAL:
        more.update(_records(data))
    else:
        more["path" if kind == _GNU_NAME else "linkpath"] = _text(data)


def _records(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield keywords and values of a pax header: ``length keyword=value`` and a line feed each."""
    position = 0
    while position < len(data) and (found := _RECORD.match(data, position)):
        end = position + int(found[1])
        if end <= found.end() or data[end - 1 : end] != b"\n":
            break
        keyword = found[2]
        if keyword in _WANTED or keyword.startswith(_HOLES):
            yield keyword.decode("ascii", "replace"), data[found.end() : end - 1].decode("utf-8", "surrogateescape")
        position = end
    if data[position:].strip(b"\0"):
        raise ItemError(Reason.CONTAINER_NOT_OPENED, DAMAGED)


def _member(block: bytes, more: dict[str, str], offset: int) -> TarMember:
    name, kind = _text(block[_NAME]), block[_TYPE]
    if block[_MAGIC] == b"ustar\0" and block[_PREFIX.start]:
        name = f"{_text(block[_PREFIX])}/{name}"
    try:
        size = int(more["size"]) if "size" in more else _number_of(block[_SIZE])
    except ValueError as error:
        raise ItemError(Reason.CONTAINER_NOT_OPENED, DAMAGED) from error
    if size < 0:
        raise ItemError(Reason.CONTAINER_NOT_OPENED, DAMAGED)
    time = more.get("mtime") or block[_TIME].strip(b"\0 ").hex()
    problem = _problem(kind, more)
    target = more.get("linkpath", _text(block[_LINK])) if kind == b"1" else None
    return TarMember(more.get("path", name), offset, size, time, problem, target)


def _problem(kind: bytes, more: dict[str, str]) -> str | None:
    if kind in _LINKS:
        return _LINK_REFUSED
    if kind in _DEVICES:
        return _DEVICE
    if kind == b"M":
        return _PART
    return _SPARSE if kind == b"S" or any(key.startswith(_HOLES.decode()) for key in more) else None


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _number_of(data: bytes) -> int:
    try:
        number = _number(data)
    except ValueError as error:
        raise ItemError(Reason.CONTAINER_NOT_OPENED, DAMAGED) from error
    if number < 0:
        raise ItemError(Reason.CONTAINER_NOT_OPENED, DAMAGED)
    return number


def _number(data: bytes) -> int:
    """Decode a number: octal digits, or GNU's binary form, marked in the first byte."""
    if data[0] in _BINARY:
        return int.from_bytes(data, "big", signed=True) if data[0] == _BINARY[1] else int.from_bytes(data[1:], "big")
    return int(data.partition(b"\0")[0].strip() or b"0", 8)
