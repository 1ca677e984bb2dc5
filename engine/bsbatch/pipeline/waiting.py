"""Objects that wait for the end of the listing, because other objects of their study may follow.

They wait packed, in about 250 bytes each: an archive may hold millions of single views.
"""

import pickle
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

import numpy as np

from bsbatch.identity import study_key
from bsbatch.records import ScanObject

_RAW, _LEVEL, _MEMORY = -zlib.MAX_WBITS, 6, 9
_LENGTH = 4
"""Bytes of the length before each packed record."""

Record = TypeVar("Record")


class Packed(Generic[Record]):
    """Records in little memory. Each is compressed with the first one as its dictionary: cameras repeat themselves."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._first = b""
        self._bytes = bytearray()
        for record in records:
            self.append(record)

    def __iter__(self) -> Iterator[Record]:
        """Yield the records in their order."""
        position = 0
        while position < len(self._bytes):
            yield self.read(position)
            position += _LENGTH + self._length(position)

    def append(self, record: Record) -> int:
        """Add a record; return its position."""
        content, position = pickle.dumps(record, pickle.HIGHEST_PROTOCOL), len(self._bytes)
        self._first = self._first or content
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW, _MEMORY, zlib.Z_DEFAULT_STRATEGY, self._first)
        packed = packer.compress(content) + packer.flush()
        self._bytes += len(packed).to_bytes(_LENGTH, "big") + packed
        return position

    def read(self, position: int) -> Record:
        """Return the record at a position."""
        start = position + _LENGTH
        packed = self._bytes[start : start + self._length(position)]
        record: Record = pickle.loads(zlib.decompressobj(_RAW, self._first).decompress(packed))
        return record

    def _length(self, position: int) -> int:
        return int.from_bytes(self._bytes[position : position + _LENGTH], "big")


class WaitingRoom:
    """Objects by study."""

    def __init__(self) -> None:
        self._packed = Packed[ScanObject]()
        self._keys, self._positions = array("Q"), array("Q")

    def add(self, scan: ScanObject) -> None:
        """Add an object."""
        self._positions.append(self._packed.append(scan))
        self._keys.append(key_of(scan))

    def __iter__(self) -> Iterator[int]:
        """Yield the `bsbatch.identity.study_key` of every object."""
        return iter(self._keys)

    def studies(self, is_wanted: Callable[[int], bool]) -> Iterator[list[ScanObject]]:
        """Yield the objects of each study, in the order of the studies' first objects; objects may be added meanwhile.

        Parameters
        ----------
        is_wanted
            Called with `bsbatch.identity.study_key`.
        """
        keys, positions = np.array(self._keys, np.uint64), np.array(self._positions, np.uint64)
        _, firsts, members = np.unique(keys, return_index=True, return_inverse=True)
        order = np.argsort(firsts[members], kind="stable")
        borders = np.flatnonzero(np.diff(firsts[members][order])) + 1
        for study in np.split(order, borders) if len(order) else ():
            if is_wanted(int(keys[study[0]])):
                yield [self._packed.read(int(positions[number])) for number in study]


def key_of(scan: ScanObject) -> int:
    """Return the `bsbatch.identity.study_key` of an object."""
    return study_key(scan.header.study_uid, scan.header.sop_uid, scan.ref.source)
