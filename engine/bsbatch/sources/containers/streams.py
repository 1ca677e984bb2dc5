"""Compressed streams, read from their beginning: gzip, bzip2, xz and Zstandard."""

import bz2
import lzma
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import BinaryIO, Protocol, cast

import pyarrow as pa
from zlib_ng import zlib_ng

from bsbatch.errors import ItemError
from bsbatch.host import limits
from bsbatch.reasons import Reason

MAGICS = {"gz": b"\x1f\x8b\x08", "bz2": b"BZh", "xz": b"\xfd7zXZ\0", "zst": b"\x28\xb5\x2f\xfd"}
"""First bytes of a stream, by its usual suffix: RFC 1952, bzip2, the .xz format 1.2.1, RFC 8878."""
DAMAGED = "a damaged compressed stream: copy the file again"
BOMB = "it is inflated to far more than any scan has: unpack it by hand if you know where it comes from"
DEFLATE_ERROR = cast("type[Exception]", zlib_ng.error)
"""Error of a damaged deflate stream; its stub declares an instance."""
_PIECE = 1 << 18
_XZ_MEMORY = 1 << 27
"""Bytes for the dictionary of a .xz file: twice the largest preset's. A header may claim 4 GiB."""


class Readable(Protocol):
    """Bytes that are read forward."""

    def read(self, count: int, /) -> bytes:
        """Read bytes; fewer only at the end."""
        ...


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def needs_input(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Gzip:
    """zlib-ng's object for gzip members, with the interface of those for bzip2 and xz."""

    def __init__(self) -> None:
        self._inflate = zlib_ng.decompressobj(wbits=16 + zlib_ng.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._inflate.unconsumed_tail

    def decompress(self, data: bytes, max_length: int = 0) -> bytes:
        return self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)


_DECOMPRESSORS: dict[str, Callable[[], _Decompressor]] = {
    "gz": _Gzip,
    "bz2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY),
}


class Inflated:
    """A compressed stream that is read forward, without more memory than a piece.

    Raises `ItemError` for a damaged stream, and for one that has more than `limits.INFLATED_FREE` bytes and more than
    `limits.INFLATED_RATIO` times its compressed size.
    """

    def __init__(self, kind: str, file: Readable) -> None:
        """Begin a stream at the place of a file."""
        self.offset = 0
        """Bytes read or skipped so far."""
        self._consumed = _Counted(file)
        self._pieces = _pieces(kind, self._consumed)
        self._rest = memoryview(b"")

    def read(self, count: int) -> bytes:
        """Read bytes; fewer only at the end."""
        parts = list(self.chunks(count))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def chunks(self, count: int) -> Iterator[bytes]:
        """Yield the next ``count`` bytes in pieces; fewer only at the end."""
        while count > 0 and self._fill():
            part = self._rest[:count]
            self._rest = self._rest[len(part) :]
            self.offset += len(part)
            count -= len(part)
            yield bytes(part)

    def skip_to(self, offset: int) -> bool:
        """Go forward to an offset; return False if the stream ends before it."""
        while self.offset < offset and self._fill():
            step = min(len(self._rest), offset - self.offset)
            self._rest = self._rest[step:]
            self.offset += step
        return self.offset == offset

    def _fill(self) -> bool:
        while not self._rest:
            piece = self._next()
            if piece is None:
                return False
            check_ratio(self.offset + len(piece), self._consumed.count)
            self._rest = memoryview(piece)
        return True

    def _next(self) -> bytes | None:
        """Inflate the next piece; errors of decompressors become `ItemError`, and those of the file system stay.

        A context manager would keep the piece in a cycle of references, from Python 3.12 on.
        """
        try:
            return next(self._pieces, None)
        except (EOFError, DEFLATE_ERROR, lzma.LZMAError, pa.ArrowException) as error:
            raise ItemError(Reason.READ_ERROR, DAMAGED) from error
        except OSError as error:  # bzip2's and pyarrow's have no number
            if error.errno is None:
                raise ItemError(Reason.READ_ERROR, DAMAGED) from error
            raise


class _Counted:
    """A file whose bytes are counted as they are read; pyarrow asks whether it is closed."""

    closed = False

    def __init__(self, file: Readable) -> None:
        self._file = file
        self.count = 0

    def read(self, count: int) -> bytes:
        data = self._file.read(count)
        self.count += len(data)
        return data

    def close(self) -> None:
        """Leave the file open: others read it, too."""


def check_ratio(inflated: int, compressed: int) -> None:
    """Raise `ItemError` if so many bytes out of so few are a bomb."""
    if inflated > limits.INFLATED_FREE and inflated > limits.INFLATED_RATIO * compressed:
        raise ItemError(Reason.CONTAINER_NOT_OPENED, BOMB)


def first_bytes(kind: str, head: bytes, count: int) -> bytes:
    """Return the first inflated bytes as far as the beginning of a stream gives them."""
    try:
        return Inflated(kind, BytesIO(head)).read(count)
    except ItemError:
        return b""


def _pieces(kind: str, file: _Counted) -> Iterator[bytes]:
    if kind == "zst":
        stream = pa.CompressedInputStream(pa.PythonFile(cast("BinaryIO", file), "r"), "zstd")
        # its method `read` never frees the piece in which a stream turns out to be cut
        return iter(lambda: cast("bytes", stream.read_buffer(_PIECE).to_pybytes()), b"")
    return _concatenated(kind, file)


def _concatenated(kind: str, file: _Counted) -> Iterator[bytes]:
    """Inflate the streams of a file one after another; padding, and anything else behind the last, is left."""
    pending = file.read(_PIECE)
    while pending.startswith(MAGICS[kind]):
        stream = _DECOMPRESSORS[kind]()
        while not stream.eof:
            if stream.needs_input and not pending:
                pending = file.read(_PIECE)
                if not pending:
                    raise EOFError
            yield stream.decompress(pending, _PIECE)
            pending = b""
        pending = stream.unused_data.lstrip(b"\0") or file.read(_PIECE).lstrip(b"\0")
        pending += file.read(len(MAGICS[kind])) if len(pending) < len(MAGICS[kind]) else b""
