"""Reads a DICOM header into a record, with the fast reader if possible, else with pydicom."""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from bsbatch.dicom.headers import fast, with_pydicom
from bsbatch.dicom.headers.attributes import IsWanted
from bsbatch.errors import ItemError
from bsbatch.reasons import EXPLANATIONS, Reason
from bsbatch.records import Header

HEAD = fast.HEAD
"""Number of bytes at the start of an object that hold most headers."""
_MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
_FIRST_GROUPS = frozenset({0x0002, 0x0008})


def read_header(stream: BinaryIO, size: int, is_wanted: IsWanted = lambda _modality, _sop_class: True) -> Header:
    """Read the header of an object, without its pixels.

    Parameters
    ----------
    stream
        The object, at its first byte, seekable.
    size
        Its length in bytes.
    is_wanted
        Called with Modality and SOP Class UID. If it returns False, nothing after (0028,0011) Columns is read, and the
        record holds only the attributes of a row of ``objects``.

    Raises
    ------
    ItemError
        ``not_dicom``, ``dicomdir`` or ``decode_failed``.
    """
    header, is_directory = _parse(stream.read(fast.HEAD), size, is_wanted, stream), False
    if header is None:
        stream.seek(0)
        with _buffer(stream) as buffered:
            header, is_directory = with_pydicom.parse(buffered, size, is_wanted)
    return _check(header, is_directory)


def header_in(head: bytes, size: int, is_wanted: IsWanted) -> Header | None:
    """Read a header from the first `HEAD` bytes of an object; return None if they do not suffice.

    Raises
    ------
    ItemError
        See `read_header`.
    """
    header = _parse(head, size, is_wanted, None)
    return None if header is None else _check(header, is_directory=False)


def _parse(head: bytes, size: int, is_wanted: IsWanted, stream: BinaryIO | None) -> Header | None:
    if head[128:132] != b"DICM":
        _check_begins_as_dataset(head)
        return None
    return fast.parse(stream, head, size, is_wanted)


def _check(header: Header, is_directory: bool) -> Header:
    if is_directory or header.sop_class == _MEDIA_STORAGE_DIRECTORY:
        raise ItemError(Reason.DICOMDIR, EXPLANATIONS[Reason.DICOMDIR])
    if not (header.modality or header.sop_class or header.rows):  # pydicom parses such files without an error
        raise ItemError(
            Reason.DECODE_FAILED, "the header holds neither a modality, a SOP class nor an image: copy the file again"
        )
    return header


@contextmanager
def _buffer(stream: BinaryIO) -> Iterator[BinaryIO]:
    """Add a buffer to an unbuffered stream: pydicom reads a few bytes at a time."""
    if not isinstance(stream, io.RawIOBase):
        yield stream
        return
    buffered = io.BufferedReader(stream)
    try:
        yield cast("BinaryIO", buffered)
    finally:
        buffered.detach()


def _check_begins_as_dataset(head: bytes) -> None:
    """Raise unless a file without the prefix of PS3.10 section 7.1 starts with group 0002 or 0008 in either order."""
    if len(head) < 8:  # noqa: PLR2004 - a tag and a length
        raise ItemError(Reason.NOT_DICOM, EXPLANATIONS[Reason.NOT_DICOM])
    little, big = struct.unpack_from("<H", head)[0], struct.unpack_from(">H", head)[0]
    if little not in _FIRST_GROUPS and big not in _FIRST_GROUPS:
        raise ItemError(Reason.NOT_DICOM, EXPLANATIONS[Reason.NOT_DICOM])
