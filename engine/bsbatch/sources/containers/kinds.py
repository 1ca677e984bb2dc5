"""Kinds of containers: by the suffix of a file, and by its first bytes."""

import re
from collections.abc import Callable
from enum import StrEnum

from bsbatch.sources.containers.streams import MAGICS, first_bytes
from bsbatch.sources.containers.tar_index import is_header

_ZIP = b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"
"""A member, an empty archive, and the first part of a split one (APPNOTE 4.3.7, 4.3.16, 8.5.3)."""
_UNREAD = {
    "7z": b"7z\xbc\xaf\x27\x1c",
    "rar": b"Rar!\x1a\x07",
    "cab": b"MSCF\0\0\0\0",
    "lz4": b"\x04\x22\x4d\x18",
    "compress (.Z)": b"\x1f\x9d\x90",
}
_NO_ARCHIVE = re.compile(
    rb"\[Content_Types\]\.xml|_rels/|docProps/|customXml/|word/|xl/|ppt/|mimetype|META-INF/|AndroidManifest"
    rb"|Index/|doc\.kml|[^/]*\.npy"
)
"""First member of zip files that are documents or programs: Office Open XML, OpenDocument, EPUB, JAR, KMZ, NPZ."""
_NAME_LENGTH, _NAME = slice(26, 28), 30
_PREFIX = slice(128, 132)
_BLOCK = 512
_TAR = re.compile(r"(\.tar(\.(gz|bz2|xz|zst))?|\.t(gz|bz2?|xz|zst))$", re.IGNORECASE)
_PART = re.compile(r"\.(zip|7z|rar|tar|gz|bz2|xz|zst|tgz)\.\d{2,4}$|\.part\d+\.rar$|\.[zr]\d\d$", re.IGNORECASE)
_LONGEST_SUFFIX = 16
_COMPRESSED = re.compile(r"\.(gz|bz2|xz|zst)$", re.IGNORECASE)


class Suffix(StrEnum):
    """Containers that a name promises."""

    ARCHIVE = "archive"
    """Zip or tar, compressed or not."""
    OBJECT = "object"
    """One compressed object."""
    ISO = "iso"
    PART = "part"
    """Part of an archive that was split."""


def suffix_kind(name: str) -> Suffix | None:
    """Return the kind that the suffix of a file name promises; None for most files."""
    lower = name[-_LONGEST_SUFFIX:].lower()
    if _PART.search(lower):
        return Suffix.PART
    if lower.endswith(".zip") or _TAR.search(lower):
        return Suffix.ARCHIVE
    if lower.endswith(".iso"):
        return Suffix.ISO
    return Suffix.OBJECT if _COMPRESSED.search(lower) else None


def is_dicom(head: bytes) -> bool:
    """Return True if a file begins as PS3.10 section 7.1 says."""
    return head[_PREFIX] == b"DICM"


def container_kind(head: bytes) -> str | None:
    """Name the container that begins with these bytes; None for DICOM files, documents and everything else.

    A compressed file counts if it holds a DICOM file or a tar, because data of many programs are compressed, too.

    Parameters
    ----------
    head
        The first bytes of a file, at least 512 if it has as many.
    """
    if is_dicom(head):
        return None
    if head.startswith(_ZIP):
        return None if _is_document(head) else "zip"
    for name, magic in _UNREAD.items():
        if head.startswith(magic):
            return name
    if is_header(head[:_BLOCK]):
        return "tar"
    return _compressed_kind(head, lambda data: is_dicom(data) or is_header(data))


def magic_kind(head: bytes) -> str | None:
    """Return ``zip``, ``tar``, or the name of a compression, of a file whose suffix promises an archive."""
    if head.startswith(_ZIP):
        return "zip"
    return "tar" if is_header(head[:_BLOCK]) else _compressed_kind(head, lambda _: True)


def _compressed_kind(head: bytes, is_wanted: Callable[[bytes], bool]) -> str | None:
    name = next((name for name, magic in MAGICS.items() if head.startswith(magic)), None)
    if name is None:
        return None
    data = first_bytes(name, head, _BLOCK)
    return name if not data or is_wanted(data) else None  # bzip2 and Zstandard may give nothing before a whole block


def _is_document(head: bytes) -> bool:
    length = int.from_bytes(head[_NAME_LENGTH], "little")
    return _NO_ARCHIVE.match(head[_NAME : _NAME + length]) is not None
