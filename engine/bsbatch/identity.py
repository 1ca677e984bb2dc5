"""Identity of studies and examinations: digests of their UIDs."""

import hashlib
from array import array
from collections.abc import Iterable

from bsbatch.records import ScanObject

_FEWEST_SLOTS = 64


class DigestSet:
    """A set of 64-bit digests in at most 32 bytes each, a third of Python's set: archives hold millions of UIDs.

    A hash table with open addressing; a digest is its own hash, and 0 marks a free slot.
    """

    def __init__(self, digests: Iterable[int] = ()) -> None:
        self._count = 0
        self._slots = array("Q", bytes(8 * _FEWEST_SLOTS))
        for number in digests:
            self.add(number)

    def __len__(self) -> int:
        return self._count

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and self._slots[self._slot_of(number or 1)] != 0

    def add(self, number: int) -> None:
        """Add a digest; 0 counts as 1, since no file is expected to have either."""
        slot = self._slot_of(number or 1)
        if self._slots[slot] == 0:
            self._slots[slot] = number or 1
            self._count += 1
            if 2 * self._count > len(self._slots):
                self._grow()

    def _grow(self) -> None:
        old = self._slots
        self._slots = array("Q", bytes(2 * old.itemsize * len(old)))
        for number in filter(None, old):
            self._slots[self._slot_of(number)] = number

    def _slot_of(self, number: int) -> int:
        """Return the slot of a number, or the free slot where it would be added."""
        slots, mask = self._slots, len(self._slots) - 1
        slot = number & mask
        while slots[slot] not in (0, number):
            slot = (slot + 1) & mask
        return slot


def digest(*parts: str) -> int:
    """Return 64 bits of BLAKE2b over texts, for sets of millions of UIDs."""
    return int.from_bytes(hashlib.blake2b("\0".join(parts).encode(), digest_size=8).digest(), "big")


def study_key(study: str | None, sop: str | None, source: str) -> int:
    """Digest that the objects share which must be decided together: study, else SOP Instance UID, else path."""
    return digest("study", study) if study else digest("object", sop or "", "" if sop else source)


def exam_id(scans: Iterable[ScanObject]) -> str:
    """Return 32 hexadecimal digits of a hash of UIDs, views and frame numbers; a source path replaces a missing UID.

    The hash includes the study, because badly anonymised archives give one SOP Instance UID to many objects.
    """
    parts = [
        f"{scan.header.study_uid}/{scan.header.sop_uid or 'file:' + scan.ref.source}#{_frames(scan)}" for scan in scans
    ]
    return hashlib.blake2b("\n".join(sorted(parts)).encode(), digest_size=16).hexdigest()


def _frames(scan: ScanObject) -> str:
    return "+".join([item.view + str(item.frame) for item in scan.frames])
