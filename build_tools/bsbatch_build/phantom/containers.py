"""Packs folders of a phantom archive as hospitals do: zips and tars of studies, and single compressed objects."""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

FOLDERS = 9
"""Folders that are packed: six into zips, three into tars."""
_OBJECTS = 6
"""Files that are compressed alone."""
_EPOCH = 1980, 1, 1, 0, 0, 0


def pack(archive: Path) -> dict[str, str]:
    """Pack some folders and files of an archive, and remove what was packed.

    Every second zip is stored, the others are deflated; the tars are plain, compressed by gzip and by Zstandard. The
    remaining folders keep plain files beside the compressed objects.

    Returns
    -------
    dict
        Old path of each packed file -> its path as bsbatch names it, both relative to the archive.

    Raises
    ------
    ValueError
        The archive has too few folders.
    """
    folders = sorted({path.parent for path in archive.rglob("*") if path.is_file()})
    if len(folders) <= FOLDERS:
        raise ValueError(f"containers need at least {FOLDERS + 1} studies, not {len(folders)}.")
    moved: dict[str, str] = {}
    packed = _spread(folders, FOLDERS)
    for folder, (suffix, write) in zip(packed, _WRITERS, strict=True):
        target = folder.with_name(folder.name + suffix)
        files = sorted(path for path in folder.iterdir() if path.is_file())
        target.write_bytes(write(files))
        moved |= {_name(archive, path): f"{_name(archive, target)}!/{path.name}" for path in files}
        shutil.rmtree(folder)
    files = [path for folder in folders if folder not in packed for path in sorted(folder.iterdir())]
    for path in _spread(files, _OBJECTS):
        target = path.with_name(f"{path.name}.gz")
        target.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        path.unlink()
        moved[_name(archive, path)] = _name(archive, target)
    return moved


def _spread(paths: list[Path], number: int) -> list[Path]:
    return paths[:: max(1, len(paths) // number)][:number]


def _name(archive: Path, path: Path) -> str:
    return path.relative_to(archive).as_posix()


def _zip(method: int) -> Callable[[list[Path]], bytes]:
    def write(files: list[Path]) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", method) as packed:
            for path in files:
                packed.writestr(zipfile.ZipInfo(path.name, _EPOCH), path.read_bytes(), method)
        return stream.getvalue()

    return write


def _tar(files: list[Path]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as packed:
        for path in files:
            info = tarfile.TarInfo(path.name)
            info.size = path.stat().st_size
            packed.addfile(info, io.BytesIO(path.read_bytes()))
    return stream.getvalue()


def _tar_zst(files: list[Path]) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(_tar(files))
    content: bytes = sink.getvalue().to_pybytes()
    return content


_WRITERS: tuple[tuple[str, Callable[[list[Path]], bytes]], ...] = (
    *((".zip", _zip(zipfile.ZIP_STORED)), (".zip", _zip(zipfile.ZIP_DEFLATED))) * 3,
    (".tar", _tar),
    (".tar.gz", lambda files: gzip.compress(_tar(files), mtime=0)),
    (".tar.zst", _tar_zst),
)
"""Suffix and writer of each container, in the order of the folders."""
