"""Members of tars: read in place, or spooled while a compressed tar is inflated from its beginning to its end."""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import BinaryIO, cast

from bsbatch.errors import ItemError
from bsbatch.host import limits
from bsbatch.host.threads import Budget
from bsbatch.protocols import FilePart
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import ObjectRef
from bsbatch.sources.containers.names import CLIMBS, Namer, climbs_out, refuse
from bsbatch.sources.containers.reading import HEAD, SHORT, Cursor, Files, SharedFile, lazy_stream, read_at, slice_of
from bsbatch.sources.containers.spool import Addresses, Spool
from bsbatch.sources.containers.streams import BOMB, Inflated
from bsbatch.sources.containers.tar_index import TarMember, tar_members

Keep = Callable[[bytes], bool]
"""Returns True for the first `HEAD` bytes of a member that a run may open."""
_LINKED = "a link to a member that has a row of its own"
_LARGEST = (1 << 63) - 1
"""Largest size of the tables."""


class Tars:
    """All uncompressed tars of a source; several threads may read them at once."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def members(self, path: str, prefix: str) -> Iterator[ObjectRef]:
        """Yield the members; raise `ItemError` where the archive is damaged. See `Zips.members`."""
        for member, name in _named(tar_members(Cursor(self._files(path)))):
            yield _ref("tar", path, prefix, member, name)

    def head(self, ref: ObjectRef, count: int) -> bytes:
        """Read the first bytes of a member."""
        _, path, offset = _place(ref)
        return read_at(self._files(path), min(count, ref.size or 0), offset)

    def file(self, ref: ObjectRef) -> FilePart:
        """Find a member in its tar; tars have no checksums of data."""
        _, path, offset = _place(ref)
        return FilePart(path, offset)

    def open(self, ref: ObjectRef) -> BinaryIO:
        """Open a member in place."""
        _, path, offset = _place(ref)
        return slice_of(self._files(path), offset, ref.size or 0)


class PackedTars:
    """All compressed tars of a source; several threads may read them at once.

    Listing inflates an archive once. On the way the first bytes of each member are spooled, and all bytes of those that
    may be opened. What is no longer in the spool is found by inflating the archive again, and what follows it, too.
    """

    def __init__(self, files: Files, keep: Keep) -> None:
        self._files, self._keep = files, keep
        self._spool = Spool()
        self._addresses: dict[str, Addresses] = {}
        self._one_sweep = Budget(1)

    def members(self, path: str, prefix: str, kind: str) -> Iterator[ObjectRef]:
        """Yield the members; raise `ItemError` where the archive is damaged. See `Zips.members`."""
        stream = Inflated(kind, Cursor(self._files(path)))
        self._addresses[path] = Addresses()
        for member, name in _named(tar_members(stream)):
            ref = _ref(kind, path, prefix, member, name)
            if ref.problem is None:
                try:
                    self._hold(path, member, stream)
                except ItemError as error:
                    yield ref._replace(problem=Verdict(Stage.LIST, Reason(error.reason), error.message))
                    raise
            yield ref

    def head(self, ref: ObjectRef, count: int) -> bytes:
        """Return the first bytes of a member."""
        count = min(count, ref.size or 0)
        if not count:
            return b""
        file, offset = self._fetch(ref, count)
        return read_at(file, count, offset)

    def file(self, _: ObjectRef) -> None:
        """Return None: a spooled member may make room for others at any time."""

    def open(self, ref: ObjectRef) -> BinaryIO:
        """Open a member; one that was not spooled is inflated again when its head is left."""
        size = ref.size or 0
        if size and (found := self._find(ref, size)):
            return slice_of(*found, size)
        return lazy_stream(self.head(ref, HEAD), size, lambda: slice_of(*self._fetch(ref, size), size))

    def _fetch(self, ref: ObjectRef, count: int) -> tuple[SharedFile, int]:
        """Return the file and the offset of the first bytes of a member, after another pass if they are not there."""
        if count > limits.INFLATED_BYTES:
            raise ItemError(Reason.CONTAINER_NOT_OPENED, BOMB)
        found = self._find(ref, count)
        if found is None:
            with self._one_sweep.spend(1):
                found = self._find(ref, count)
                if found is None:
                    self._sweep(ref, count)
                    found = self._find(ref, count)
        if found is None:
            raise ItemError(Reason.READ_ERROR, SHORT)
        return found

    def _find(self, ref: ObjectRef, count: int) -> tuple[SharedFile, int] | None:
        _, path, offset = _place(ref)
        address, held = self._addresses[path].get(offset) if path in self._addresses else (0, 0)
        return self._spool.find(address) if held >= count > 0 else None

    def _sweep(self, ref: ObjectRef, count: int) -> None:
        """Inflate an archive up to a member, and spool it and those that follow, up to a quarter of the spool."""
        kind, path, wanted = _place(ref)
        stream, room = Inflated(kind, Cursor(self._files(path))), self._spool.capacity // 4
        self._addresses.setdefault(path, Addresses())
        for member in tar_members(stream):
            if member.offset >= wanted and not member.problem:
                room -= self._hold(path, member, stream, count if member.offset == wanted else 0)
            if room <= 0:
                return

    def _hold(self, path: str, member: TarMember, stream: Inflated, needed: int = 0) -> int:
        """Spool the member that the stream is at: all of it if it may be opened or is needed, else its first bytes."""
        head = stream.read(min(HEAD, member.size))
        rest = member.size - len(head) if needed > len(head) or self._keep(head) else 0
        rest = 0 if rest + len(head) > limits.INFLATED_BYTES else rest
        address, held = self._spool.add(len(head) + rest, chain((head,), stream.chunks(rest)))
        self._addresses[path].set(member.offset, address, held)
        return held


def _place(ref: ObjectRef) -> tuple[str, str, int]:
    """Kind of container, path, and offset of the data."""
    kind, path, _, offset = cast("tuple[str, str, str, int]", ref.location)
    return kind, path, offset


def _named(members: Iterator[TarMember]) -> Iterator[tuple[TarMember, str]]:
    """Yield members and their names for rows; hard links whose target came before are marked `_LINKED`."""
    namer = Namer()
    for number, member in enumerate(members):
        is_copy = member.target is not None and member.target in namer
        yield member._replace(problem=_LINKED) if is_copy else member, namer.name(member.name, number)


def _ref(kind: str, path: str, prefix: str, member: TarMember, name: str) -> ObjectRef:
    size = min(member.size, _LARGEST)
    problem = refuse(member.problem) if member.problem else None
    if climbs_out(member.name):
        problem = refuse(CLIMBS)
    elif member.problem == _LINKED:
        problem = Verdict(Stage.LIST, Reason.NOT_DICOM, _LINKED)
    return ObjectRef(prefix + name, (kind, path, name, member.offset), size, f"{member.time}-{size}", problem)
