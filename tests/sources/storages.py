"""Places where the same objects can lie, for tests that run over each kind of source."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class Storage(Protocol):
    """A place for objects that one kind of source reads."""

    prefix: str
    """What the names of rows begin with, before the name that the object was stored under."""

    @property
    def address(self) -> Path | str:
        """The archive's address."""
        ...

    def store(self, objects: Mapping[str, bytes]) -> None:
        """Replace all objects by others. One that was there under its name, with these bytes, counts as unchanged."""
        ...


class FolderStorage:
    """Files below a folder."""

    prefix = ""

    def __init__(self, folder: Path) -> None:
        self.address = folder

    def store(self, objects: Mapping[str, bytes]) -> None:
        """Write, and remove, the files that differ."""
        self.address.mkdir(exist_ok=True)
        for path in [path for path in self.address.rglob("*") if path.is_file()]:
            if path.relative_to(self.address).as_posix() not in objects:
                path.unlink()
        for name, data in objects.items():
            path = self.address / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.read_bytes() != data:
                path.write_bytes(data)
