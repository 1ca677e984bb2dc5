"""Opens a DICOM file for pydicom: its meta information, and its data set in the encoding that it really has."""

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Protocol, cast

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from bsbatch.dicom.encoding import FIRST_GROUPS, UNDEFINED, Encoding, encoding_of, find_first_element
from bsbatch.errors import ItemError
from bsbatch.host import limits
from bsbatch.reasons import Reason

_FIRST_BYTES = 8192
_META, _COMMAND, _DATA_SET = 0x0002, 0x0000, 0x00030000
_COMMAND_START = bytes.fromhex("00000000 04000000")
"""(0000,0000) Command Group Length and its length, PS3.7 section 6.3."""
_FILL = 0xFFFFFFFF
_STEP = 1 << 16
"""Bytes that are inflated at once, at least."""


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

    Raises
    ------
    ItemError
        ``too_large``, here or when the file is read.
    """
    raw, stream = stream, _bounded(stream)
    meta = _read_meta(stream, start)
    syntax = str(meta.get("TransferSyntaxUID") or "").strip()
    begin = stream.tell()
    inflated = _inflate(raw, limits.HEADER_INFLATED) if syntax == DeflatedExplicitVRLittleEndian else None
    if inflated is not None:
        bounded = _Bounded(inflated)
        return Part10(meta, cast("BinaryIO", bounded), 0, Encoding(is_implicit=False, is_little=True), is_deflated=True)
    stream.seek(begin)
    return Part10(meta, stream, begin, encoding_of(stream.read(6), syntax), is_deflated=False)


def open_deflated(stream: BinaryIO, most: int) -> BinaryIO:
    """Open the data set of a deflated file, at its first byte, as a stream of at most ``most`` bytes.

    Raises
    ------
    ItemError
        ``too_large``, when the stream is read beyond them.
    """
    start = find_first_element(stream.read(_FIRST_BYTES))
    _read_meta(_bounded(stream), start)
    return cast("BinaryIO", _Inflating(stream, most))


def _read_meta(stream: BinaryIO, start: int) -> Dataset:
    """Read the meta information; the stream then stands at the data set."""
    stream.seek(start)
    encoding = Encoding(is_implicit=False, is_little=True)
    meta = _read_elements(stream, encoding, lambda tag: tag >> 16 != _META, None)
    _skip_command(stream)
    return meta


def _bounded(stream: BinaryIO) -> BinaryIO:
    return cast("BinaryIO", _Bounded(stream))


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...


class _Bounded:
    """A stream that ends with an error before it is read for ever.

    pydicom searches the rest of a file anew for each item of a sequence that was overwritten, and reads an element of
    no length as slowly as any other.
    """

    def __init__(self, stream: _Readable) -> None:
        self._read, self.tell, self.seek = stream.read, stream.tell, stream.seek
        self._bytes_left, self._calls_left = limits.HEADER_READ, limits.HEADER_CALLS

    def read(self, size: int) -> bytes:
        """Read as a stream does, no more than is left."""
        data = self._read(min(size, self._bytes_left + 1))
        self._bytes_left -= len(data)
        self._calls_left -= 1
        if self._bytes_left < 0 or self._calls_left < 0:
            raise ItemError(Reason.DECODE_FAILED, "more elements than the header of any image has: export it again")
        return data


class _Inflating:
    """A deflated data set (PS3.5 section A.5) as a stream, inflated as far as it is read."""

    def __init__(self, stream: BinaryIO, most: int) -> None:
        self._stream, self._most = stream, most
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._data, self._position = bytearray(), 0

    def read(self, size: int, /) -> bytes:
        """Read ``size`` bytes, fewer at the end.

        Raises
        ------
        ItemError
            ``too_large``: the data set goes on beyond the limit.
        zlib.error
            The data are damaged.
        """
        end = self._position + size
        self._inflate(min(end, self._most + 1))
        if min(end, len(self._data)) > self._most:
            raise _too_large("the inflated data set")
        data = bytes(memoryview(self._data)[self._position : end])
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Set the position; the data up to there are inflated by the next reading."""
        self._position = offset + (self._position if whence == io.SEEK_CUR else 0)
        return self._position

    def tell(self) -> int:
        """Position in the inflated data set."""
        return self._position

    def _inflate(self, end: int) -> None:
        while len(self._data) < end and not self._inflater.eof:
            packed = self._inflater.unconsumed_tail or self._stream.read(_STEP)
            if not packed:
                return
            self._data += self._inflater.decompress(packed, max(end - len(self._data), _STEP))


def _too_large(what: str) -> ItemError:
    return ItemError(Reason.TOO_LARGE, f"{what} is larger than that of any image (docs/tables.md, Limits)")


def load(stream: BinaryIO, syntax: str, tags: tuple[int, ...]) -> Dataset:
    """Read attributes of a file.

    Parameters
    ----------
    stream
        The file, at its first byte, seekable.
    syntax
        `bsbatch.records.Header.transfer_syntax`, which replaces what the meta information claims.
    tags
        The attributes to read.
    """
    file = open_file(stream, find_first_element(stream.read(_FIRST_BYTES)))
    dataset = file.read(lambda tag: tag > max(tags), [*tags])
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
        is_filled = tag == _FILL or (tag == 0 and length == 0)
        if is_filled or is_beyond(tag):
            return True
        if limits.HEADER_VALUE < length != UNDEFINED and (tag < _DATA_SET if tags is None else tag in tags):
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


def _inflate(stream: BinaryIO, most: int) -> _Inflating | None:
    """Open the rest of a stream as a deflated data set; return None if it is one that was never deflated."""
    begin = stream.tell()
    is_group = stream.read(len(next(iter(FIRST_GROUPS)))) in FIRST_GROUPS
    stream.seek(begin)
    inflating = _Inflating(stream, most)
    try:
        inflating.read(1)
    except zlib.error:
        if is_group:
            return None
        raise
    return inflating
