"""A source that is listed once, ahead of its readers, however often it is iterated."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bsbatch.errors import ItemError
from bsbatch.host.replay import Replay
from bsbatch.protocols import FilePart, Source
from bsbatch.records import ObjectRef


class ListedSource:
    """A source with the listing that `list_once` has begun."""

    def __init__(self, source: Source, listing: Replay[ObjectRef]) -> None:
        self._source, self._listing = source, listing
        self.heads_at_once = source.heads_at_once

    def __iter__(self) -> Iterator[ObjectRef]:
        """Yield the same objects each time, whatever becomes of the archive meanwhile."""
        return iter(self._listing)

    def count(self) -> int:
        """Return the number of objects; blocks until the source is listed."""
        return self._listing.count()

    def heads(self, refs: Sequence[ObjectRef], count: int) -> list[bytes | ItemError]:
        """Read the first bytes of objects."""
        return self._source.heads(refs, count)

    def file(self, ref: ObjectRef) -> FilePart | None:
        """Find an object that lies in a file as it is."""
        return self._source.file(ref)

    def open(self, ref: ObjectRef) -> BinaryIO:
        """Open one object."""
        return self._source.open(ref)


@contextmanager
def list_once(source: Source, folder: Path | None = None) -> Iterator[ListedSource]:
    """List a source in the background, as long as the block lasts.

    A run needs the objects up to four times: to resume, to count them, to read them, and to decide studies anew. To
    list a bucket costs a request for each thousand objects, and to list a compressed tar is to read all of it.

    Parameters
    ----------
    folder
        Folder of the temporary file that holds the listing, about 30 bytes for each object; None for the system's.
    """
    with Replay(source, folder) as listing:
        yield ListedSource(source, listing)
