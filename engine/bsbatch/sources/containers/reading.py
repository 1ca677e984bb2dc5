"""Members as seekable streams, and the checks that all kinds of containers share."""

import io
import os
from collections.abc import Callable, Iterable
from tempfile import SpooledTemporaryFile
from typing import IO, BinaryIO, cast

from bsbatch.errors import ItemError
from bsbatch.host import limits
from bsbatch.reasons import Reason
from bsbatch.sources.containers.streams import BOMB

HEAD = 1 << 13
"""First bytes of a member that are enough to refuse most files, and are held for those of compressed tars."""
SHORT = "the archive ends before this member does: copy it again"


class SharedFile:
    """A file that several readers use by offset; it is closed when none uses it any more."""

    def __init__(self, stream: IO[bytes]) -> None:
        """Take the file of a stream, and close the stream."""
        with stream:
            self._descriptor = os.dup(stream.fileno())
        self._state = self._measure()

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        if hasattr(self, "_descriptor"):
            close(self._descriptor)

    def fileno(self) -> int:
        """Descriptor, valid as long as this object."""
        return self._descriptor

    def size(self) -> int:
        """Bytes."""
        return self._measure()[0]

    def is_changed(self) -> bool:
        """Return True if somebody has written to it: offsets that were found in it then mean nothing."""
        return self._measure() != self._state

    def _measure(self) -> tuple[int, int]:
        status = os.fstat(self._descriptor)
        return status.st_size, status.st_mtime_ns


Files = Callable[[str], SharedFile]
"""Opens the file of a container by its path, or returns it if it is open; raises `ItemError` or `SourceError`."""


class RangeReader(io.RawIOBase):
    """A seekable stream over a function that reads a range of an object."""

    def __init__(self, read: Callable[[int, int], bytes], size: Callable[[], int]) -> None:
        """Take a function of offset and count, and one that returns the size; both in bytes."""
        super().__init__()
        self._read, self._size, self._position = read, size, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Offset of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; a position behind the end reads nothing."""
        if whence != io.SEEK_SET:
            offset += self._position if whence == io.SEEK_CUR else self._size()
        if offset < 0:
            raise ValueError("a negative position")
        self._position = offset
        return offset

    def readall(self) -> bytes:
        """Read all that is left in one call."""
        count = max(0, self._size() - self._position)
        data = self._read(self._position, count)
        self._position += len(data)
        return data

    def readinto(self, buffer: object) -> int:
        """Read into a buffer; return the number of bytes, fewer only at the end."""
        view = memoryview(cast("bytearray", buffer)).cast("B")
        data = self._read(self._position, len(view))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)


class Cursor:
    """A file that is read forward; other readers of it do not matter."""

    def __init__(self, file: SharedFile) -> None:
        self._file, self._size = file, file.size()
        self.offset = 0
        """Bytes read or skipped so far."""

    def read(self, count: int) -> bytes:
        """Read bytes; fewer only at the end."""
        count = max(0, min(count, self._size - self.offset))
        data = read_at(self._file, count, self.offset)
        self.offset += count
        return data

    def skip_to(self, offset: int) -> bool:
        """Go forward to an offset; return False if the file ends before it."""
        self.offset = min(offset, self._size)
        return self.offset == offset


def slice_of(file: SharedFile, offset: int, size: int) -> BinaryIO:
    """Return a stream over a part of a file; the file stays open as long as the stream is used."""

    def read(position: int, count: int) -> bytes:
        count = min(count, size - position)
        return read_at(file, count, offset + position) if count > 0 else b""

    return cast("BinaryIO", RangeReader(read, lambda: size))


def lazy_stream(first: bytes, size: int | None, load: Callable[[], BinaryIO]) -> BinaryIO:
    """Return a stream over an object of which only the first bytes were read; ``load`` is called if others are needed.

    Parameters
    ----------
    first
        The first bytes of the object.
    size
        Bytes; None if the object must be loaded to know.
    load
        Returns the whole object as a seekable stream.
    """
    loaded: list[BinaryIO] = []

    def whole() -> BinaryIO:
        if not loaded:
            loaded.append(load())
        return loaded[0]

    def read(position: int, count: int) -> bytes:
        if position + count <= len(first) or size == len(first):
            return first[position : position + count]
        whole().seek(position)
        return whole().read(count)

    return cast("BinaryIO", RangeReader(read, lambda: whole().seek(0, io.SEEK_END) if size is None else size))


def read_at(file: SharedFile, count: int, offset: int) -> bytes:
    """Read bytes of a file at an offset.

    Raises
    ------
    ItemError
        The file ends before.
    """
    data = os.pread(file.fileno(), count, offset)
    while len(data) < count:
        more = os.pread(file.fileno(), count - len(data), offset + len(data))
        if not more:
            raise ItemError(Reason.READ_ERROR, SHORT)
        data += more
    return data


def collect(pieces: Iterable[bytes]) -> BinaryIO:
    """Return a stream over all pieces, in memory or in an unlinked temporary file.

    Raises
    ------
    ItemError
        They have more than `limits.INFLATED_BYTES`.
    """
    total = 0
    with SpooledTemporaryFile(limits.INFLATED_MEMORY) as stream:
        for piece in pieces:
            total += len(piece)
            if total > limits.INFLATED_BYTES:
                raise ItemError(Reason.CONTAINER_NOT_OPENED, BOMB)
            stream.write(piece)
        stream.seek(0)
        if total <= limits.INFLATED_MEMORY:
            return io.BytesIO(stream.read())
        return slice_of(SharedFile(cast("IO[bytes]", stream)), 0, total)
