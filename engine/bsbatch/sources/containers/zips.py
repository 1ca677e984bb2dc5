"""Members of zip files: read in place if stored, else inflated no further than needed; their checksums decide."""

import os
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from typing import BinaryIO, cast

from zlib_ng import zlib_ng

from bsbatch.errors import ItemError
from bsbatch.host import limits
from bsbatch.native.checksum import is_compiled
from bsbatch.protocols import FilePart
from bsbatch.reasons import Reason
from bsbatch.records import ObjectRef
from bsbatch.sources.containers.names import refuse
from bsbatch.sources.containers.reading import HEAD, SHORT, Files, SharedFile, collect, lazy_stream, read_at, slice_of
from bsbatch.sources.containers.streams import DEFLATE_ERROR, check_ratio
from bsbatch.sources.containers.zip_index import (
    LARGE,
    LOCAL,
    LOCAL_MAGIC,
    LYING,
    STORED,
    find_directory,
    missing_end,
    zip_members,
)

_LEAD = LOCAL.size + 256
"""Bytes of a local header with its name and extra field, mostly."""
_USUAL_RATIO = 2
"""Inflated bytes for each compressed one of most members, at least; of others the head is read in pieces."""
_BEHIND = 1 << 3
"""General purpose bit 3: CRC and sizes stand behind the data (APPNOTE 4.4.4)."""
_PIECE = 1 << 18
_DAMAGED = "a damaged member: its data do not fit its checksum or end too soon. Copy the archive again"
_LARGEST = (1 << 63) - 1
"""Largest size of the tables."""


_Place = tuple[str, str, str, int, int, int, int, int]
"""Location of a member: ``zip``, path, name, offset of its local header, its end, compressed size, CRC-32, method."""


class Zips:
    """All zip files of a source; several threads may read them at once."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def members(self, path: str, prefix: str) -> Iterator[ObjectRef]:
        """Yield the members of a zip file; raise `ItemError` where its directory cannot be read.

        Parameters
        ----------
        path
            Of the file.
        prefix
            Path of the file for rows, with ``!/``.
        """
        file = self._files(path)
        directory = find_directory(file)
        if directory is None:
            raise missing_end()
        for name, offset, end, stored, size, crc, method, problem in zip_members(file, directory):
            location = "zip", path, name, offset, end, stored, crc, method
            verdict = None if problem is None else refuse(problem)
            yield ObjectRef(prefix + name, location, min(size, _LARGEST), f"{crc:08x}-{size}", verdict)

    def has_directory(self, path: str) -> bool:
        """Return True if a file ends as a zip does, whatever it begins with."""
        return find_directory(self._files(path)) is not None

    def head(self, ref: ObjectRef, count: int) -> bytes:
        """Read the first bytes of a member: its local header and what follows, in one call."""
        place = cast("_Place", ref.location)
        _, path, _, offset, _, stored, _, method = place
        count = min(count, ref.size or 0)
        wanted = min(stored, count if method == STORED else count // _USUAL_RATIO)
        file = self._files(path)
        data = os.pread(file.fileno(), _LEAD + wanted, offset)
        begin = _data_offset(data, place, ref.size)
        raw = data[begin - offset : begin - offset + wanted]
        if method != STORED:
            return self._inflate_head(place, begin, raw, count) if count else b""
        return raw if len(raw) == wanted else read_at(file, wanted, begin)

    def file(self, ref: ObjectRef) -> FilePart | None:
        """Find a stored member in its zip file, if compiled code compares its checksum."""
        place, size = cast("_Place", ref.location), ref.size or 0
        if place[-1] != STORED or not is_compiled():
            return None
        return FilePart(place[1], self._begin(place, size), size, place[-2])

    def open(self, ref: ObjectRef) -> BinaryIO:
        """Open a member. It is read whole, and its checksum compared, when its head is left."""
        place, size = cast("_Place", ref.location), ref.size or 0
        load = partial(self._load_stored if place[-1] == STORED else self._load, place, size)
        return lazy_stream(self.head(ref, HEAD), size, load) if size > HEAD else load()

    def _begin(self, place: _Place, size: int | None) -> int:
        return _data_offset(os.pread(self._files(place[1]).fileno(), LOCAL.size, place[3]), place, size)

    def _inflate_head(self, place: _Place, begin: int, raw: bytes, count: int) -> bytes:
        try:
            head = zlib_ng.decompressobj(-zlib_ng.MAX_WBITS).decompress(raw, count)
            if len(head) == count:
                return head
            pieces = _inflate(self._files(place[1]), begin, place[5])
            head = b""
            while len(head) < count:
                head += next(pieces)
        except (DEFLATE_ERROR, StopIteration) as error:
            raise ItemError(Reason.READ_ERROR, _DAMAGED) from error
        return head[:count]

    def _load_stored(self, place: _Place, size: int) -> BinaryIO:
        _, path, _, _, _, _, crc, _ = place
        file, begin = self._files(path), self._begin(place, size)
        if size <= limits.INFLATED_MEMORY:
            (data,) = _check(iter([read_at(file, size, begin)]), size, crc)
            return BytesIO(data)
        for _ in _check(_pieces(file, begin, size), size, crc):
            pass
        return slice_of(file, begin, size)

    def _load(self, place: _Place, size: int) -> BinaryIO:
        _, path, _, _, _, stored, crc, _ = place
        check_ratio(size, stored)
        return collect(_check(_inflate(self._files(path), self._begin(place, size), stored), size, crc))


def _data_offset(data: bytes, place: _Place, size: int | None) -> int:
    """Return the offset of the data of a member behind its local header, and compare that with the directory."""
    if len(data) < LOCAL.size:
        raise ItemError(Reason.READ_ERROR, SHORT)
    _, _, _, offset, end, stored, crc, method = place
    magic, flags, local_method, local_crc, local_stored, local_size, name, extra = LOCAL.unpack_from(data)
    begin: int = offset + LOCAL.size + name + extra
    if magic != LOCAL_MAGIC:
        raise ItemError(Reason.READ_ERROR, _DAMAGED)
    is_equal = local_crc == crc and local_stored == stored and local_size == size
    is_equal = is_equal or flags & _BEHIND or LARGE in {local_stored, local_size}
    if not is_equal or local_method != method or begin + stored > end:
        raise ItemError(Reason.CONTAINER_NOT_OPENED, LYING)
    return begin


def _inflate(file: SharedFile, offset: int, left: int) -> Iterator[bytes]:
    """Inflate a member in pieces. Raises `ItemError` if the stream does not end where the member does."""
    inflater, raw = zlib_ng.decompressobj(-zlib_ng.MAX_WBITS), b""
    while not inflater.eof:
        if not raw:
            raw = read_at(file, min(_PIECE, left), offset)
            offset, left = offset + len(raw), left - len(raw)
        try:
            piece = inflater.decompress(raw, _PIECE)
        except DEFLATE_ERROR as error:
            raise ItemError(Reason.READ_ERROR, _DAMAGED) from error
        raw = inflater.unconsumed_tail
        if not (piece or raw or left or inflater.eof):
            raise ItemError(Reason.READ_ERROR, _DAMAGED)
        yield piece


def _pieces(file: SharedFile, offset: int, size: int) -> Iterator[bytes]:
    """Read a member in pieces."""
    for start in range(0, size, _PIECE):
        yield read_at(file, min(_PIECE, size - start), offset + start)


def _check(pieces: Iterator[bytes], size: int, crc: int) -> Iterator[bytes]:
    """Pass on the pieces of a member; raise `ItemError` if they are not what the directory declares."""
    total, found = 0, 0
    for piece in pieces:
        total, found = total + len(piece), zlib_ng.crc32(piece, found)
        if total > size:
            raise ItemError(Reason.CONTAINER_NOT_OPENED, LYING)
        yield piece
    if total != size:
        raise ItemError(Reason.CONTAINER_NOT_OPENED, LYING)
    if found != crc:
        raise ItemError(Reason.READ_ERROR, _DAMAGED)
