"""The objects of another source, with the members of the containers among them in their place."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import BinaryIO, Protocol, TypeVar

from bsbatch.errors import ItemError
from bsbatch.protocols import FilePart, Source
from bsbatch.reasons import EXPLANATIONS, Reason, Stage, Verdict
from bsbatch.records import ObjectRef
from bsbatch.sources.containers import kinds
from bsbatch.sources.containers.kinds import Suffix
from bsbatch.sources.containers.names import refuse
from bsbatch.sources.containers.objects import KIND as OBJECT
from bsbatch.sources.containers.objects import Objects
from bsbatch.sources.containers.reading import Cursor, SharedFile
from bsbatch.sources.containers.streams import MAGICS, Inflated
from bsbatch.sources.containers.tar_index import is_header
from bsbatch.sources.containers.tars import Keep, PackedTars, Tars
from bsbatch.sources.containers.zips import Zips
from bsbatch.sources.directory import reason_of

_OPEN_FILES = 32
"""Files of containers that are open at once, beyond those in use."""
_BLOCK = 512
_READ = frozenset({"zip", "tar", *MAGICS})
"""Kinds that are opened if their suffix promises one."""
_CHANGED = ItemError(Reason.READ_ERROR, "the archive was changed while it was read: run again")
_ISO_MAGIC, _ISO_OFFSET = b"CD001", 0x8001
"""ECMA-119 section 8.1, in sector 16."""
_EMPTY = Verdict(Stage.LIST, Reason.NOT_DICOM, "an archive without members")
_PART = "a part of an archive that was split: put the parts together, unpack them, and run over the folder"
_ISO = "a CD or DVD image: mount it, or unpack it (7z x, bsdtar -xf), and run over the folder"
_Out = TypeVar("_Out")


class _Reader(Protocol):
    """Members of one kind of container."""

    def head(self, ref: ObjectRef, count: int) -> bytes: ...
    def file(self, ref: ObjectRef) -> FilePart | None: ...
    def open(self, ref: ObjectRef) -> BinaryIO: ...


class ContainerSource:
    """A source of files in which zip files, tars and compressed objects are opened; nothing is unpacked to a folder.

    Which files are containers is decided by suffix and first bytes. One without its suffix fails when its head is read,
    because its members would have to be listed long before.
    """

    def __init__(self, files: Source, keep: Keep = lambda _: True) -> None:
        """Take the source of the files, which lie in a file system.

        Parameters
        ----------
        files
            Locations of its objects are paths.
        keep
            Returns True for the first `HEAD` bytes of a member that a run may open. Members of compressed tars for
            which it does are held in temporary files; for the others, opening is slow.
        """
        self._inner = files
        self.heads_at_once = files.heads_at_once
        self._open_file = lru_cache(_OPEN_FILES)(self._open_anew)
        self._zips, self._tars = Zips(self._open_file), Tars(self._open_file)
        self._packed = PackedTars(self._open_file, keep)
        readers: dict[str, _Reader] = {"zip": self._zips, "tar": self._tars, OBJECT: Objects(self._open_anew)}
        self._readers = readers | dict.fromkeys(MAGICS, self._packed)

    def __iter__(self) -> Iterator[ObjectRef]:
        """Yield the objects of the other source, and the members in place of each container."""
        for ref in self._inner:
            suffix = kinds.suffix_kind(ref.source) if ref.problem is None else None
            if suffix is None:
                yield ref
            elif suffix is Suffix.OBJECT:
                yield ref._replace(location=(OBJECT, str(ref.location)), size=None)
            else:
                yield from self._expand(ref, suffix)

    def heads(self, refs: Sequence[ObjectRef], count: int) -> list[bytes | ItemError]:
        """Read the first bytes of objects; a container without its suffix, or in a container, is an `ItemError`."""
        plain = [ref for ref in refs if isinstance(ref.location, str)]
        heads = iter(self._inner.heads(plain, count) if plain else ())
        changed = {path for path in set(map(_path, refs)) if path and self._is_changed(path)}
        found: list[bytes | ItemError] = []
        for ref in refs:
            if isinstance(ref.location, str):
                head = next(heads)
            elif changed and _path(ref) in changed:
                head = _CHANGED
            else:
                head = self._head(ref, count)
            found.append(head if isinstance(head, ItemError) else _check(ref, head))
        return found

    def file(self, ref: ObjectRef) -> FilePart | None:
        """Find an object that lies in a file as it is."""
        if isinstance(ref.location, str):
            return self._inner.file(ref)
        return self._retry(self._reader(ref).file, ref)

    def open(self, ref: ObjectRef) -> BinaryIO:
        """Open an object, seekable."""
        if isinstance(ref.location, str):
            return self._inner.open(ref)
        return self._retry(self._reader(ref).open, ref)

    def _expand(self, ref: ObjectRef, suffix: Suffix) -> Iterator[ObjectRef]:
        """Yield the members of a container, and the container itself if it is empty or cannot be read to its end."""
        members = 0
        try:
            for member in self._members(ref, suffix):
                members += 1
                yield member
            problem = None if members else _EMPTY
        except ItemError as error:
            problem = Verdict(Stage.LIST, Reason(error.reason), error.message)
        except OSError as error:
            problem = Verdict.of(Stage.LIST, reason_of(error))
        if problem is not None:
            yield ref._replace(problem=problem)

    def _members(self, ref: ObjectRef, suffix: Suffix) -> Iterator[ObjectRef]:
        path = str(ref.location)
        file = self._open_file(path)
        head = Cursor(file).read(_ISO_OFFSET + len(_ISO_MAGIC) if suffix is Suffix.ISO else _BLOCK)
        if suffix is Suffix.ISO:
            is_iso = head[_ISO_OFFSET:] == _ISO_MAGIC
            return iter((ref._replace(problem=refuse(_ISO)) if is_iso else ref,))
        if suffix is Suffix.PART:
            return iter((ref if kinds.is_dicom(head) else ref._replace(problem=refuse(_PART)),))
        kind, mark = kinds.magic_kind(head), "!"
        while os.path.lexists(path + mark):  # a folder of that name has rows, too
            mark += "!"
        prefix = f"{ref.source}{mark}/"
        if kind == "zip" or (kind is None and self._zips.has_directory(path)):
            return self._zips.members(path, prefix)
        if kind == "tar":
            return self._tars.members(path, prefix)
        if kind is None:
            return iter((ref,))
        if is_header(Inflated(kind, Cursor(file)).read(_BLOCK)):
            return self._packed.members(path, prefix, kind)
        return iter((ref._replace(location=(OBJECT, path), size=None),))

    def _head(self, ref: ObjectRef, count: int) -> bytes | ItemError:
        read = self._readers[str(ref.location[0])].head
        try:
            return read(ref, count)
        except ItemError as error:
            return error
        except OSError:
            pass
        try:
            return self._retry(lambda ref: read(ref, count), ref)
        except ItemError as error:
            return error

    def _reader(self, ref: ObjectRef) -> _Reader:
        """Return the reader of a member; raise `ItemError` if its container was changed since it was listed."""
        if self._is_changed(_path(ref)):
            raise _CHANGED
        return self._readers[str(ref.location[0])]

    def _is_changed(self, path: str) -> bool:
        try:
            return path != "" and self._open_file(path).is_changed()
        except ItemError:  # reading a member raises it again
            return False

    def _open_anew(self, path: str) -> SharedFile:
        return SharedFile(self._inner.open(ObjectRef("", path, None, "")))

    def _retry(self, attempt: Callable[[ObjectRef], _Out], ref: ObjectRef) -> _Out:
        """Try again with files opened anew: that finds out whether the whole source has disappeared."""
        try:
            return attempt(ref)
        except OSError:
            self._open_file.cache_clear()
        try:
            return attempt(ref)
        except OSError as error:
            reason = reason_of(error)
            raise ItemError(reason, EXPLANATIONS[reason]) from error


def _path(ref: ObjectRef) -> str:
    """Path of the container of a member; nothing of other objects, which are opened anew each time."""
    location = ref.location
    return "" if isinstance(location, str) or location[0] == OBJECT else str(location[1])


def _check(ref: ObjectRef, head: bytes) -> bytes | ItemError:
    """Refuse a container whose members are not listed."""
    kind = kinds.container_kind(head)
    if kind is None:
        return head
    suffix = f".{kind}, or .tar.{kind} if it is a tar" if kind in MAGICS else f".{kind}"
    if kind == "tar" and ref.location[0] == OBJECT:
        message = "a compressed tar: rename it so that its name ends with .tar.gz, .tar.bz2, .tar.xz or .tar.zst"
    elif not isinstance(ref.location, str):
        message = f"an archive in an archive ({kind}): unpack it, and run over the folder"
    elif kind in _READ:
        message = f"an archive ({kind}) without its suffix: rename it so that its name ends with {suffix}"
    else:
        message = f"an archive of a kind that is not read ({kind}): unpack it, and run over the folder"
    return ItemError(Reason.CONTAINER_NOT_OPENED, message)
