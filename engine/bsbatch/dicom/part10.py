"""Opens a DICOM file for pydicom: its meta information, and its data set in the encoding that it really has."""

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, cast

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from bsbatch.dicom.encoding import FIRST_GROUPS, UNDEFINED, Encoding, encoding_of, find_first_element
from bsbatch.errors import ItemError
from bsbatch.reasons import Reason

_FIRST_BYTES = 8192
_META, _COMMAND, _DATA_SET = 0x0002, 0x0000, 0x00030000
_COMMAND_START = bytes.fromhex("00000000 04000000")
"""(0000,0000) Command Group Length and its length, PS3.7 section 6.3."""
_FILL = 0xFFFFFFFF
_PIXEL_DATA = 0x7FE00010
_READINGS, _MORE_BYTES = 4, 1 << 24
"""How often a file may be read as a whole, and bytes beyond that."""
_MOST_CALLS = 1 << 18
"""Calls that read from a file: two or three for each element at any depth. pydicom makes as many in 2 to 4 seconds."""
_LONGEST_VALUE = 1 << 18
"""Bytes of a value or sequence that is read of a header: twice the largest of sound files, a Modality LUT."""


@dataclass(frozen=True, slots=True)
class Part10:
    """A DICOM file, opened up to its data set."""

    meta: Dataset
    """File meta information; empty if there is none."""
    stream: BinaryIO
    """The file; the inflated data set if it was deflated."""
    start: int
    """Offset of the data set in the stream."""
    encoding: Encoding
    is_deflated: bool

    def read(self, is_beyond: Callable[[int], bool], tags: list[int] | None) -> Dataset:
        """Read attributes of the data set; the stream then stands at the first element that was not read.

        Parameters
        ----------
        is_beyond
            Called with each tag; reading stops before the first for which it returns True.
        tags
            The attributes to read; all if None.

        Raises
        ------
        ItemError
            ``decode_failed``: one of these attributes, or the header, is longer than that of any image.
        """
        self.stream.seek(self.start)
        return _read_elements(self.stream, self.encoding, is_beyond, tags)


def open_file(stream: BinaryIO, start: int) -> Part10:
    """Open a file; errors are those of pydicom.

    Parameters
    ----------
    stream
        The file, seekable.
    start
        Offset of its first element, from `bsbatch.dicom.encoding.find_first_element`.
    """
    stream = cast("BinaryIO", _Bounded(stream))
    stream.seek(start)
    meta = _read_elements(stream, Encoding(is_implicit=False, is_little=True), lambda tag: tag >> 16 != _META, None)
    _skip_command(stream)
    syntax = str(meta.get("TransferSyntaxUID") or "").strip()
    begin = stream.tell()
    inflated = _inflate(stream) if syntax == DeflatedExplicitVRLittleEndian else None
    if inflated is not None:
        return Part10(meta, inflated, 0, Encoding(is_implicit=False, is_little=True), is_deflated=True)
    stream.seek(begin)
    return Part10(meta, stream, begin, encoding_of(stream.read(6), syntax), is_deflated=False)


class _Bounded:
    """A stream that ends with an error before it is read for ever.

    pydicom searches the rest of a file anew for each item of a sequence that was overwritten, and reads an element of
    no length as slowly as any other.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._read, self.tell, self.seek = stream.read, stream.tell, stream.seek
        self._bytes_left, self._calls_left = _READINGS * stream.seek(0, io.SEEK_END) + _MORE_BYTES, _MOST_CALLS

    def read(self, size: int = -1) -> bytes:
        """Read as a stream does."""
        data = self._read(size)
        self._bytes_left -= len(data)
        self._calls_left -= 1
        if self._bytes_left < 0 or self._calls_left < 0:
            raise ItemError(Reason.DECODE_FAILED, "more elements than the header of any image has: export it again")
        return data


def load(stream: BinaryIO, syntax: str, tags: tuple[int, ...] = ()) -> Dataset:
    """Read a file, for the decoders of pydicom.

    Parameters
    ----------
    stream
        The file, at its first byte, seekable.
    syntax
        `bsbatch.records.Header.transfer_syntax`, which replaces what the meta information claims.
    tags
        The attributes to read; all up to Pixel Data if there are none.
    """
    file = open_file(stream, find_first_element(stream.read(_FIRST_BYTES)))
    last = max(tags, default=_PIXEL_DATA)
    dataset = file.read(lambda tag: tag > last, [*tags] or None)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    return dataset


def _read_elements(
    stream: BinaryIO, encoding: Encoding, is_beyond: Callable[[int], bool], tags: list[int] | None
) -> Dataset:
    """Read up to a tag or to filling bytes, without elements whose value is cut off or partly overwritten."""
    last, is_filled = -1, False

    def is_end(tag: BaseTag, _vr: str | None, length: int) -> bool:
        nonlocal last, is_filled
        if last == _PIXEL_DATA:  # what follows the pixels may be rubbish of any length
            return True
        is_filled = tag == _FILL or (tag == 0 and length == 0)
        if is_filled or is_beyond(tag):
            return True
        if _LONGEST_VALUE < length != UNDEFINED and (tag < _DATA_SET if tags is None else tag in tags):
            raise ItemError(Reason.DECODE_FAILED, "a longer value than the header of any image has: export it again")
        last = int(tag)
        return False

    wanted: list[BaseTag | int] | None = None if tags is None else [*tags]
    dataset = read_dataset(stream, encoding.is_implicit, encoding.is_little, stop_when=is_end, specific_tags=wanted)
    doubtful = [element.tag for element in dataset.elements() if _is_cut(element)]
    for tag in {*doubtful, last} if is_filled else doubtful:
        if tag in dataset:
            del dataset[tag]
    return dataset


def _is_cut(element: object) -> bool:
    """Return True if the file ends inside the value of an element."""
    if not isinstance(element, RawDataElement) or element.length == UNDEFINED:
        return False
    return len(element.value or b"") < element.length


def _skip_command(stream: BinaryIO) -> None:
    """Skip a command set before the data set, as in files made from network traffic."""
    begin = stream.tell()
    is_command = stream.read(len(_COMMAND_START)) == _COMMAND_START
    stream.seek(begin)
    if is_command:
        _read_elements(stream, Encoding(is_implicit=True, is_little=True), lambda tag: tag >> 16 != _COMMAND, None)


def _inflate(stream: BinaryIO) -> BinaryIO | None:
    """Inflate the rest of a stream, PS3.5 section A.5; return None if it is a data set that was never deflated."""
    rest = stream.read()
    try:
        return cast("BinaryIO", _Bounded(io.BytesIO(zlib.decompress(rest, -zlib.MAX_WBITS))))
    except zlib.error:
        if rest[:2] in FIRST_GROUPS:
            return None
        raise
