"""Decides a study: which of its objects are examinations, copies, or views that cannot be paired.

An examination is one anterior and one posterior frame of one acquisition. The decision depends on the set of objects
alone: not on their order, their names or the run that saw them first.
"""

from collections.abc import Sequence

from bsbatch.dicom.copies import ReadDigests, by_patient, fail_together, settle_copies
from bsbatch.dicom.partners import match, mismatch
from bsbatch.identity import exam_id
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import Examination, ExamView, ScanObject, SettledObject, View

_BOTH = 2

Event = Examination | SettledObject


def decide(scans: Sequence[ScanObject], read_digests: ReadDigests) -> list[Event]:
    """Decide all objects of one study.

    Parameters
    ----------
    scans
        The whole-body objects of a study, sound or damaged; or objects without a study that share a UID.
    read_digests
        Reads the pixels of an object. It is called only for studies of more than one examination's objects.
    """
    ordered = sorted(scans, key=_place)
    if _is_plain(ordered):
        return _examine_patient(ordered)
    settled = settle_copies(ordered, read_digests)
    return settled.events + [event for patient in by_patient(settled.scans) for event in _examine_patient(patient)]


def _place(scan: ScanObject) -> tuple[str, ...]:
    """Return a key that sorts paths, and in a container the offsets of its members."""
    location = scan.ref.location
    parts = (location,) if isinstance(location, str) else location
    return tuple(f"{part:020}" if isinstance(part, int) else part for part in parts)


def examine(scans: tuple[ScanObject, ...], verdict: Verdict | None = None) -> Examination:
    """Make an examination from one or two objects.

    Parameters
    ----------
    scans
        The objects; a defect of one of them fails the examination.
    verdict
        A further reason to fail, used if no object has a defect.
    """
    views = {item.view: ExamView(scan, item) for scan in scans for item in scan.frames}
    defects = [scan.defect for scan in scans if scan.defect is not None]
    return Examination(
        exam_id=exam_id(scans),
        scans=scans,
        anterior=views.get(View.ANTERIOR),
        posterior=views.get(View.POSTERIOR),
        defect=defects[0] if defects else verdict,
    )


def has_both_views(scan: ScanObject) -> bool:
    """Return True if an object is an examination of its own, and sound."""
    return scan.defect is None and len(scan.frames) == _BOTH


def _is_plain(scans: Sequence[ScanObject]) -> bool:
    """Return True for one object, and for one view from either side with UIDs and a patient of their own."""
    if len(scans) == 1:
        return True
    views = [frame.view for scan in scans for frame in scan.frames]
    uids = {scan.header.sop_uid for scan in scans}
    is_pair = len(scans) == len(views) == len(set(views)) == len(uids) == _BOTH
    return is_pair and all(scan.defect is None for scan in scans) and len(by_patient(scans)) == 1


def _examine_patient(scans: Sequence[ScanObject]) -> list[Event]:
    """Make examinations of the objects of one patient in one study."""
    matching = match([scan for scan in scans if _is_single(scan)])
    events: list[Event] = [_examine_alone(scan) for scan in scans if not _is_single(scan)]
    events += [examine(pair, mismatch(*pair)) for pair in matching.pairs]
    events += [fail_together(scans, Reason.AMBIGUOUS_PAIRING) for scans in matching.tangles]
    return events + [_examine_alone(scan) for scan in matching.alone]


def _is_single(scan: ScanObject) -> bool:
    return len(scan.frames) == 1 and scan.header.study_uid is not None


def _examine_alone(scan: ScanObject) -> Examination:
    is_lone = len(scan.frames) < _BOTH
    return examine((scan,), Verdict.of(Stage.PAIRING, Reason.SINGLE_VIEW_ONLY) if is_lone else None)
