"""Single compressed objects: ``IM0001.dcm.gz``."""

from typing import BinaryIO

from bsbatch.records import ObjectRef
from bsbatch.sources.containers.reading import HEAD, Cursor, Files, SharedFile, collect, lazy_stream, slice_of
from bsbatch.sources.containers.streams import MAGICS, Inflated

KIND = "object"
_PIECE = 1 << 18
_MAGIC = 6


class Objects:
    """All files whose suffix names a compression; one that is not compressed is read as it is."""

    def __init__(self, files: Files) -> None:
        """``files`` opens a file anew each time."""
        self._files = files

    def head(self, ref: ObjectRef, count: int) -> bytes:
        """Read the first bytes, inflated."""
        return _stream(self._files(_path(ref))).read(count)

    def file(self, _: ObjectRef) -> None:
        """Return None: the object is compressed."""

    def open(self, ref: ObjectRef) -> BinaryIO:
        """Open an object; it is inflated whole when its head is left."""
        file = self._files(_path(ref))
        if _kind_of(file) is None:
            return slice_of(file, 0, file.size())
        first = _stream(file).read(HEAD)
        return lazy_stream(first, len(first) if len(first) < HEAD else None, lambda: _load(file))


def _load(file: SharedFile) -> BinaryIO:
    stream = _stream(file)
    return collect(iter(lambda: stream.read(_PIECE), b""))


def _stream(file: SharedFile) -> Cursor | Inflated:
    kind = _kind_of(file)
    return Cursor(file) if kind is None else Inflated(kind, Cursor(file))


def _kind_of(file: SharedFile) -> str | None:
    magic = Cursor(file).read(_MAGIC)
    return next((kind for kind, expected in MAGICS.items() if magic.startswith(expected)), None)


def _path(ref: ObjectRef) -> str:
    return str(ref.location[1])
