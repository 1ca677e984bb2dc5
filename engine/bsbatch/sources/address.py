"""Opens the source that an archive's address names."""

from pathlib import Path

from bsbatch.config import is_url
from bsbatch.errors import UsageError
from bsbatch.protocols import Source
from bsbatch.requirements import require
from bsbatch.sources.containers.source import ContainerSource
from bsbatch.sources.containers.tars import Keep
from bsbatch.sources.directory import DirectorySource
from bsbatch.sources.single_file import FileSource

_BUCKETS = "s3://", "gs://", "az://"


def open_source(archive: Path | str, keep: Keep = lambda _: True) -> Source:
    """Return the source of an archive: a folder or file, whose containers are opened, or a bucket.

    Parameters
    ----------
    keep
        See `ContainerSource`.

    Raises
    ------
    UsageError
        It does not exist or cannot be listed, no source reads such an address, or a package is missing for it.
    """
    if is_url(archive):
        return _open_bucket(str(archive))
    path = Path(archive)
    return ContainerSource(FileSource(path) if path.is_file() else DirectorySource(path), keep)


def _open_bucket(address: str) -> Source:
    if not address.startswith(_BUCKETS):
        raise UsageError(f"the archive {address} is neither a path nor a bucket: {', '.join(_BUCKETS)}")
    require("obstore", extra="cloud")
    from bsbatch.sources.object_store import ObjectStoreSource

    return ObjectStoreSource(address)
