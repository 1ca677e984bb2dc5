"""Places where the same objects can lie, for tests that run over each kind of source."""

import gzip
import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from tests.stores import Service


class Storage(Protocol):
    """A place for objects that one kind of source reads."""

    prefix: str
    """What the names of rows begin with, before the name that the object was stored under."""

    is_one_file: bool
    """True if no object can change or go without the file that holds all."""

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
    is_one_file = False

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


def zip_of(objects: Mapping[str, bytes], method: int) -> bytes:
    """Pack objects into a zip."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in objects.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return stream.getvalue()


def tar_of(objects: Mapping[str, bytes]) -> bytes:
    """Pack objects into a tar; other data have another time."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in objects.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), zlib.crc32(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


PACKERS: Mapping[str, Callable[[Mapping[str, bytes]], bytes]] = {
    "stored.zip": lambda objects: zip_of(objects, zipfile.ZIP_STORED),
    "deflated.zip": lambda objects: zip_of(objects, zipfile.ZIP_DEFLATED),
    "plain.tar": tar_of,
    "packed.tar.gz": lambda objects: gzip.compress(tar_of(objects), 1),
}
"""Containers by file name."""


class PackedStorage:
    """Members of a container."""

    is_one_file = True

    def __init__(self, folder: Path, name: str) -> None:
        self.address = folder / name
        self.prefix = f"{name}!/"
        self._pack = PACKERS[name]

    def store(self, objects: Mapping[str, bytes]) -> None:
        """Replace the container."""
        self.address.parent.mkdir(parents=True, exist_ok=True)
        self.address.write_bytes(self._pack(objects))


class BucketStorage:
    """Objects below a prefix of a bucket."""

    prefix = ""
    is_one_file = False

    def __init__(self, service: Service, folder: str) -> None:
        self._service, self._folder = service, folder
        self._stored: dict[str, bytes] = {}
        self.address = f"{service.address}/{folder}"

    def store(self, objects: Mapping[str, bytes]) -> None:
        """Send, and delete, the objects that differ."""
        found = {f"{self._folder}/{name}": data for name, data in objects.items()}
        self._service.put_all({key: data for key, data in found.items() if self._stored.get(key) != data})
        if gone := [key for key in self._stored if key not in found]:
            self._service.connect().delete(gone)
        self._stored = found


def read_folder(folder: Path) -> dict[str, bytes]:
    """The files below a folder, by their relative paths."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
