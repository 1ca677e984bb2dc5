"""What makes two things the same thing: digests of UIDs, acquisitions and examinations."""

import hashlib
from collections.abc import Iterable

from bsbatch.records import ScanObject


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
