"""What makes two things the same thing: digests of UIDs, acquisitions and examinations."""

import hashlib
from array import array
from collections.abc import Iterable

from bsbatch.records import ScanObject

_FEWEST_PLACES = 64


class DigestSet:
    """A set of digests in at most 32 bytes each, a third of what Python's takes: archives hold millions of UIDs.

    A hash table with open addresses; a digest is its own hash, and 0 marks a free place.
    """

    def __init__(self, digests: Iterable[int] = ()) -> None:
        self._count = 0
        self._places = array("Q", bytes(8 * _FEWEST_PLACES))
        for number in digests:
            self.add(number)

    def __len__(self) -> int:
        return self._count

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and self._places[self._place_of(number or 1)] != 0

    def add(self, number: int) -> None:
        """Put one in; 0, which no file will have, counts as 1."""
        place = self._place_of(number or 1)
        if self._places[place] == 0:
            self._places[place] = number or 1
            self._count += 1
            if 2 * self._count > len(self._places):
                self._grow()

    def _grow(self) -> None:
        held = self._places
        self._places = array("Q", bytes(2 * held.itemsize * len(held)))
        for number in filter(None, held):
            self._places[self._place_of(number)] = number

    def _place_of(self, number: int) -> int:
        """Where the number lies, or would lie."""
        places, mask = self._places, len(self._places) - 1
        place = number & mask
        while places[place] not in (0, number):
            place = (place + 1) & mask
        return place


def digest(*parts: str) -> int:
    """64 bits of BLAKE2b: what sets of a million UIDs are made of."""
    return int.from_bytes(hashlib.blake2b("\0".join(parts).encode(), digest_size=8).digest(), "big")


def acquisition_key(study: str | None, series: str | None, date: str | None, time: str | None) -> int | None:
    """What names the acquisition of an object: its study with the time, or with the series where no time is given."""
    if study is None:
        return None
    return digest(study, "time", date or "", time) if time else digest(study, "series", series or "")


def object_key(study: str | None, sop: str) -> int:
    """What makes two objects copies of one another: SOP Instance UID and study."""
    return digest(study or "", sop)


def exam_id(scans: Iterable[ScanObject]) -> str:
    """32 hexadecimal digits over UIDs and frame numbers; a file without a UID stands in with its place.

    The study counts too: badly anonymised archives give one SOP Instance UID to many objects.
    """
    parts = sorted(
        f"{scan.header.study_uid}/{scan.header.sop_uid or 'file:' + scan.ref.source}#{_frames(scan)}" for scan in scans
    )
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()


def _frames(scan: ScanObject) -> str:
    return "+".join(f"{item.view}{item.frame}" for item in scan.frames)
