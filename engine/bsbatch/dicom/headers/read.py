"""Reads a DICOM header into a record, with the fast reader if possible, else with pydicom."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from bsbatch.dicom.encoding import AFTER_PREFIX, find_first_element
from bsbatch.dicom.headers import fast, with_pydicom
from bsbatch.dicom.headers.attributes import IsWanted
from bsbatch.errors import ItemError
from bsbatch.reasons import EXPLANATIONS, Reason
from bsbatch.records import Header

HEAD = fast.HEAD
"""Number of bytes at the start of an object that hold most headers."""
_UNKNOWN = 1 << 62
"""Stands for an unknown size: no element ends behind it."""


def read_header(stream: BinaryIO, size: int, is_wanted: IsWanted = lambda _modality, _sop_class: True) -> Header:
    """Read the header of an object, without its pixels and without the values that do not fit their attributes.

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
        ``not_dicom``, ``wrapped``, ``dicomdir`` or ``decode_failed``.
    """
    head, is_directory = stream.read(fast.HEAD), False
    start = find_first_element(head)
    header = fast.parse(stream, head, size, is_wanted) if start == AFTER_PREFIX else None
    if header is None:
        with _buffer(stream) as buffered:
            header, is_directory = with_pydicom.parse(buffered, start, size, is_wanted)
    return _check(header, is_directory)


def header_in(head: bytes, size: int | None, is_wanted: IsWanted) -> Header | None:
    """Read a header from the first `HEAD` bytes of an object; return None if they do not suffice.

    The header of an object of unknown size decides no more than whether it is a scan.

    Raises
    ------
    ItemError
        See `read_header`.
    """
    if find_first_element(head) != AFTER_PREFIX:
        return None
    header = fast.parse(None, head, _UNKNOWN if size is None else size, is_wanted)
    return None if header is None else _check(header, is_directory=False)


def _check(header: Header, is_directory: bool) -> Header:
    if is_directory or header.sop_class == with_pydicom.MEDIA_STORAGE_DIRECTORY:
        raise ItemError(Reason.DICOMDIR, EXPLANATIONS[Reason.DICOMDIR])
    is_empty = not (header.modality or header.sop_class or header.rows or header.unfit)
    if is_empty:  # pydicom parses such files without an error
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
