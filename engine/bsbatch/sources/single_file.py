"""One file as a source."""

import os
from collections.abc import Iterator
from pathlib import Path

from bsbatch.records import ObjectRef
from bsbatch.sources.directory import DirectorySource, FoundFile


class FileSource(DirectorySource):
    """One file of a folder."""

    def __init__(self, path: Path) -> None:
        """Check that the folder of the file can be listed; raises `UsageError`."""
        super().__init__(path.absolute().parent)
        self._name = path.name

    def __iter__(self) -> Iterator[ObjectRef]:
        """Yield the file; nothing if it has gone."""
        with os.scandir(self._root) as entries:
            yield from self._refs([FoundFile(entry.path, entry.name) for entry in entries if entry.name == self._name])
        self._check_root()
