"""Settles the copies among the objects of a study: equal UIDs, equal pixels, and processed copies of an original.

Objects of one SOP Instance UID are copies only if patient and pixels are equal, too. Otherwise they all fail as
``uid_conflict``: nothing says which of them is the true one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from operator import attrgetter
from typing import TypeVar

from bsbatch.dicom.moments import gap_between
from bsbatch.dicom.partners import is_simultaneous, shares_group
from bsbatch.identity import exam_id
from bsbatch.reasons import EXPLANATIONS, Reason, Stage, Verdict
from bsbatch.records import Examination, ScanObject, SettledObject, View

Digests = Mapping[View, str]
"""A digest of the counts of each view; empty text for a view whose pixels are all the same."""
ReadDigests = Callable[[ScanObject], Digests | Verdict]
"""Reads the views of an object; a verdict if they cannot be read."""
Found = Mapping[int, Digests | Verdict]
"""Identity of a sound object -> its digests."""
Key = TypeVar("Key")
_MOST_NAMES = 8


@dataclass(frozen=True, slots=True)
class Sorted:
    """The objects of a study after its copies are settled."""

    scans: list[ScanObject]
    """The objects that remain."""
    events: list[Examination | SettledObject] = field(default_factory=list)
    """The rest."""


def settle_copies(scans: Sequence[ScanObject], read_digests: ReadDigests) -> Sorted:
    """Settle the copies of a study, and its objects of one UID that are none.

    Parameters
    ----------
    scans
        All objects of a study, in an order that is the same for the same set. Of copies, the first one with a Patient
        ID remains, else the first one.
    read_digests
        Called once for each sound object.
    """
    ordered = sorted(scans, key=lambda scan: scan.header.patient_id is None)
    digests = {id(scan): read_digests(scan) for scan in ordered if scan.defect is None}
    left = Sorted([])
    for uid, same in _group(ordered, lambda scan: scan.header.sop_uid):
        if uid is None or len(same) == 1:
            left.scans.extend(same)
        else:
            _settle_uid(same, digests, left)
    return _settle_processed(_settle_pixels(left, digests))


def by_patient(scans: Sequence[ScanObject]) -> list[list[ScanObject]]:
    """Divide objects by Patient ID, then by its issuer, and those without an ID by Patient's Name.

    An object without a value joins the others if these are of one patient. Beside two patients it stays by itself.
    """
    groups = [list(scans)] if scans else []
    for name in ("patient_id", "patient_issuer", "patient_name"):
        groups = [part for group in groups for part in _divide(group, attrgetter(f"header.{name}"))]
    return groups


def fail_together(scans: Sequence[ScanObject], reason: Reason) -> Examination:
    """Make one failed examination of objects that cannot be separated; its message names their files."""
    names = sorted(scan.ref.source for scan in scans)
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    message = f"{EXPLANATIONS[reason]}: {', '.join(names[:_MOST_NAMES])}{more}"
    return Examination(exam_id(scans), tuple(scans), None, None, Verdict(Stage.PAIRING, reason, message))


def duplicate(scan: ScanObject, reason: Reason = Reason.DUPLICATE_VIEW) -> SettledObject:
    """Settle an object as a copy."""
    return SettledObject(scan.ref, scan.header, Verdict.of(Stage.PAIRING, reason))


def _settle_uid(same: Sequence[ScanObject], digests: Found, left: Sorted) -> None:
    """Settle the objects of one SOP Instance UID; a damaged one fails for itself if there is a sound one."""
    defects = {id(scan): scan.defect or digests[id(scan)] for scan in same}
    sound = [scan for scan in same if not isinstance(defects[id(scan)], Verdict)]
    damaged = [scan for scan in same if scan not in sound]
    if any(not _is_copy(one, other, digests) for one, other in combinations(sound, 2)):
        left.events.append(fail_together(sound, Reason.UID_CONFLICT))
    else:
        left.scans.append((sound or damaged)[0])
        left.events.extend(map(duplicate, sound[1:]))
    for scan in damaged if sound else damaged[1:]:
        verdict = defects[id(scan)]
        if isinstance(verdict, Verdict):
            left.events.append(SettledObject(scan.ref, scan.header, verdict))


def _is_copy(one: ScanObject, other: ScanObject, digests: Found) -> bool:
    return _has_patient(one, [other]) and digests[id(one)] == digests[id(other)]


def _settle_pixels(study: Sorted, digests: Found) -> Sorted:
    """Settle the objects whose views repeat the pixels of others of their patient under another UID."""
    seen: dict[tuple[View, str], list[ScanObject]] = {}
    settled = Sorted([], study.events)
    for scan in sorted(study.scans, key=lambda scan: (-len(scan.frames), _is_derived(scan))):
        found = digests.get(id(scan), {})
        views = [] if isinstance(found, Verdict) else [view for view in found.items() if view[1]]
        if views and len(views) == len(scan.frames) and all(_has_patient(scan, seen.get(view, ())) for view in views):
            settled.events.append(duplicate(scan))
        else:
            settled.scans.append(scan)
            for view in views:
                seen.setdefault(view, []).append(scan)
    return settled


def _settle_processed(study: Sorted) -> Sorted:
    """Settle the processed objects whose originals are there, too."""
    originals = [scan for scan in study.scans if not _is_derived(scan) and scan.defect is None]
    processed = [scan for scan in study.scans if _is_derived(scan) and _has_originals(scan, originals)]
    gone = set(map(id, processed))
    study.events.extend(duplicate(scan, Reason.DERIVED_COPY) for scan in processed)
    return Sorted([scan for scan in study.scans if id(scan) not in gone], study.events)


def _has_patient(scan: ScanObject, others: Iterable[ScanObject]) -> bool:
    """Return True if one of the other objects may be of the same patient."""
    return any(len(by_patient([scan, other])) == 1 for other in others)


def _is_derived(scan: ScanObject) -> bool:
    """Return True if value 1 of (0008,0008) Image Type says so, PS3.3 C.7.6.1.1.2."""
    return scan.header.image_type[:1] == ("DERIVED",)


def _has_originals(scan: ScanObject, originals: Iterable[ScanObject]) -> bool:
    """Return True if every view of a processed object has an original of the same acquisition."""
    same = [other for other in originals if _has_patient(scan, [other]) and _is_of_one_acquisition(scan, other)]
    views = {frame.view for other in same for frame in other.frames}
    return bool(scan.frames) and {frame.view for frame in scan.frames} <= views


def _is_of_one_acquisition(one: ScanObject, other: ScanObject) -> bool:
    is_timed = gap_between(one.header, other.header) is not None
    return is_simultaneous(one, other) if is_timed else shares_group(one, other)


def _divide(scans: Sequence[ScanObject], key: Callable[[ScanObject], str | None]) -> list[list[ScanObject]]:
    groups = dict(_group(scans, key))
    unknown = groups.pop(None, [])
    if len(groups) <= 1:
        return [list(scans)]
    return [*groups.values(), *([scan] for scan in unknown)]


def _group(scans: Iterable[ScanObject], key: Callable[[ScanObject], Key]) -> list[tuple[Key, list[ScanObject]]]:
    """Group objects by a key, in the order of the first object of each group."""
    groups: dict[Key, list[ScanObject]] = {}
    for scan in scans:
        groups.setdefault(key(scan), []).append(scan)
    return list(groups.items())
