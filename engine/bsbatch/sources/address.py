"""Opens the source that an archive's address names."""

from pathlib import Path

from bsbatch.config import is_url
from bsbatch.errors import UsageError
from bsbatch.protocols import Source
from bsbatch.sources.directory import DirectorySource


def open_source(archive: Path | str) -> Source:
    """Return the source of an archive.

    Raises
    ------
    UsageError
        It does not exist or cannot be listed, or no source reads such an address.
    """
    if is_url(archive):
        raise UsageError(f"the archive {archive} is no folder: only folders are read")
    return DirectorySource(Path(archive))
