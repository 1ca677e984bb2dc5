"""Objects of an archive that grows: listed once their studies have been quiet for some time."""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import BinaryIO, NamedTuple

from bsbatch.dicom.headers.read import HEAD, header_in
from bsbatch.dicom.selection import may_be_scan
from bsbatch.errors import ItemError
from bsbatch.identity import DigestSet, digest
from bsbatch.protocols import FilePart, Source
from bsbatch.records import ObjectRef


class _New(NamedTuple):
    """An object that has not arrived."""

    study: int
    """Digest of its Study Instance UID; of the object itself if nobody knows."""
    first_seen: float


class QuietSource:
    """The part of a source that has arrived.

    An object has arrived once its study is quiet: no object of it has come or changed for some seconds. A sender sends
    the views of a study one after the other, and does not say which is the last one.
    """

    def __init__(self, source: Source, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Know nothing yet: objects that are there already have to be quiet, too.

        Parameters
        ----------
        source
            The archive.
        seconds
            Quiet time of a study.
        clock
            Returns seconds.
        """
        self._source, self._seconds, self._clock = source, seconds, clock
        self.heads_at_once = source.heads_at_once
        self._arrived = DigestSet()
        self._new: dict[int, _New] = {}
        self.arrived = 0
        """Objects that arrived at the last `refresh`."""

    @property
    def waiting(self) -> int:
        """New objects whose studies are not quiet."""
        return len(self._new)

    def refresh(self) -> bool:
        """List the source; return True if objects have arrived since the last call."""
        now, last = self._clock(), dict[int, float]()
        self._new = dict(self._list_new(now))
        for new in self._new.values():
            last[new.study] = max(new.first_seen, last.get(new.study, new.first_seen))
        quiet = [key for key, new in self._new.items() if now - last[new.study] >= self._seconds]
        for key in quiet:
            self._arrived.add(key)
            del self._new[key]
        self.arrived = len(quiet)
        return bool(quiet)

    def __iter__(self) -> Iterator[ObjectRef]:
        """Yield the objects that had arrived at the last `refresh` and have not changed since."""
        return (ref for ref in self._source if _key(ref) in self._arrived)

    def heads(self, refs: Sequence[ObjectRef], count: int) -> list[bytes | ItemError]:
        """Read the first bytes of objects."""
        return self._source.heads(refs, count)

    def file(self, ref: ObjectRef) -> FilePart | None:
        """Find an object that lies in a file as it is."""
        return self._source.file(ref)

    def open(self, ref: ObjectRef) -> BinaryIO:
        """Open one object."""
        return self._source.open(ref)

    def _list_new(self, now: float) -> Iterator[tuple[int, _New]]:
        """Yield new objects by their keys; the head of each is read once, and again if it changes."""
        refs = ((key, ref) for ref in self._source if (key := _key(ref)) not in self._arrived)
        while some := list(islice(refs, self.heads_at_once)):
            unknown = {key: ref for key, ref in some if key not in self._new and ref.problem is None}
            heads = dict(zip(unknown, self._source.heads(list(unknown.values()), HEAD), strict=True))
            for key, _ in some:
                yield key, self._new.get(key) or _New(_study_in(heads.get(key)) or key, now)


def _key(ref: ObjectRef) -> int:
    return digest(ref.source, str(ref.size), ref.version)


def _study_in(head: bytes | ItemError | None) -> int | None:
    """Digest of the Study Instance UID in the head of an object; None if it is not to be found there."""
    if not isinstance(head, bytes):
        return None
    try:
        header = header_in(head, None, may_be_scan)
    except ItemError:
        return None
    return digest(header.study_uid) if header is not None and header.study_uid else None
