"""Opens the source that an archive's address names."""

from pathlib import Path

from bsbatch.config import is_url
from bsbatch.errors import UsageError
from bsbatch.protocols import Source
from bsbatch.sources.containers.source import ContainerSource
from bsbatch.sources.containers.tars import Keep
from bsbatch.sources.directory import DirectorySource
from bsbatch.sources.single_file import FileSource


def open_source(archive: Path | str, keep: Keep = lambda _: True) -> Source:
    """Return the source of an archive: a folder, or one file; the containers among them are opened.

    Parameters
    ----------
    keep
        See `ContainerSource`.

    Raises
    ------
    UsageError
        It does not exist or cannot be listed, or no source reads such an address.
    """
    if is_url(archive):
        raise UsageError(f"the archive {archive} is no folder: only folders are read")
    path = Path(archive)
    return ContainerSource(FileSource(path) if path.is_file() else DirectorySource(path), keep)
