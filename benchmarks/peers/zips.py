"""Read members of zip files with zipfile and pydicom; shares no code with bsbatch."""

import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pydicom


def zip_modalities(archive: zipfile.ZipFile, threads: int) -> dict[str, str]:
    """Read (0008,0060) Modality of every member, headers only."""

    def read(name: str) -> str:
        with archive.open(name) as member:
            return str(pydicom.dcmread(member, stop_before_pixels=True).Modality)

    names = archive.namelist()
    with ThreadPoolExecutor(threads) as pool:
        return dict(zip(names, pool.map(read, names), strict=True))


def zip_heads(archive: zipfile.ZipFile, count: int) -> Iterator[bytes]:
    """Yield the first bytes of every member."""
    for name in archive.namelist():
        with archive.open(name) as member:
            yield member.read(count)
