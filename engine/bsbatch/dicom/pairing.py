"""Pairs whole-body objects of a stream into examinations.

Only the metadata of unpaired objects is kept. An examination is one anterior and one posterior frame of one acquisition
of one study. Two objects that were acquired within 120 s pair at once, and so do two of one Frame of Reference or
series that have no time. The views of a single-headed camera are further apart. They wait for the end of the stream,
because a repeat of the same view may follow, and then pair within their Frame of Reference or series, closest in time
first. An object without a partner fails as ``single_view_only``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import combinations

from bsbatch.identity import DigestSet, acquisition_key, exam_id, object_key
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import Examination, ExamView, FrameView, Header, ScanObject, SettledObject, View

_SAME_ACQUISITION_SECONDS = 120.0
_SPACING_TOLERANCE = 1e-3
_DAY_SECONDS = 86400.0
_BOTH = 2

Event = Examination | SettledObject


@dataclass(slots=True)
class Pairer:
    """Pairs the views of a stream of objects.

    A resumed run passes the ``seen`` and ``closed`` of the interrupted one, and so decides like an uninterrupted run.
    """

    seen: DigestSet = field(default_factory=DigestSet)
    """`bsbatch.identity.object_key` of the objects that are part of an examination or wait for a partner."""
    closed: DigestSet = field(default_factory=DigestSet)
    """`bsbatch.identity.acquisition_key` of the objects that are part of an examination with both views."""
    _waiting: dict[str, list[ScanObject]] = field(default_factory=dict)
    _damaged: list[ScanObject] = field(default_factory=list)

    def add(self, scan: ScanObject) -> Iterator[Event]:
        """Add an object; yield the examination that it completes, or the object itself if it is a duplicate."""
        if scan.defect is not None:  # a sound copy may follow
            self._damaged.append(scan)
            return
        if self._is_repeated(scan):
            yield _duplicate(scan)
        elif len(scan.frames) == _BOTH:
            yield self._close(examine((scan,)))
        else:
            yield from self._pair(scan)

    def finish(self) -> Iterator[Event]:
        """Decide all objects that still wait, at the end of the stream."""
        for scan in self._damaged:
            yield from self._add_damaged(scan)
        self._damaged.clear()
        for scans in self._waiting.values():
            yield from self._finish_study(scans)
        self._waiting.clear()

    def _is_repeated(self, scan: ScanObject) -> bool:
        key = object_key(scan.header.study_uid, scan.header.sop_uid) if scan.header.sop_uid else None
        if key is None:
            return False
        is_repeated = key in self.seen
        self.seen.add(key)
        return is_repeated

    def _pair(self, scan: ScanObject) -> Iterator[Event]:
        study = scan.header.study_uid
        if study is None:
            yield examine((scan,), Verdict.of(Stage.PAIRING, Reason.SINGLE_VIEW_ONLY))
            return
        waiting = self._waiting.setdefault(study, [])
        partners = [other for other in waiting if _is_partner(scan, other) and _is_same_acquisition(scan, other)]
        if not partners:
            waiting.append(scan)
            return
        partner = min(partners, key=lambda other: _gap(scan, other) or 0.0)
        self._drop(study, partner)
        yield self._close(examine((partner, scan)))

    def _drop(self, study: str, scan: ScanObject) -> None:
        self._waiting[study].remove(scan)
        if not self._waiting[study]:
            del self._waiting[study]

    def _close(self, exam: Examination) -> Examination:
        for scan in exam.scans:
            key = _key(scan.header)
            if key is not None:
                self.closed.add(key)
        return exam

    def _add_damaged(self, scan: ScanObject) -> Iterator[Event]:
        """Settle a damaged object if a sound copy exists; else it is part of an examination."""
        if self._is_repeated(scan) and scan.defect is not None:
            yield SettledObject(scan.ref, scan.header, scan.defect)
        elif len(scan.frames) == 1 and scan.header.study_uid is not None:
            self._waiting.setdefault(scan.header.study_uid, []).append(scan)
        else:
            yield examine((scan,))

    def _finish_study(self, scans: list[ScanObject]) -> Iterator[Event]:
        rest = list(scans)
        for one, other in sorted(_candidate_pairs(scans), key=_distance):
            if one in rest and other in rest:
                rest.remove(one)
                rest.remove(other)
                yield self._close(examine((one, other), _mismatch(one, other)))
        yield from map(self._settle_single, rest)

    def _settle_single(self, scan: ScanObject) -> Event:
        if scan.defect is None and _key(scan.header) in self.closed:
            return _duplicate(scan)
        return examine((scan,), Verdict.of(Stage.PAIRING, Reason.SINGLE_VIEW_ONLY))


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


def _key(header: Header) -> int | None:
    return acquisition_key(header.study_uid, header.series_uid, header.acquisition_date, header.acquisition_time)


def _duplicate(scan: ScanObject) -> SettledObject:
    return SettledObject(scan.ref, scan.header, Verdict.of(Stage.PAIRING, Reason.DUPLICATE_VIEW))


def _view(scan: ScanObject) -> FrameView:
    return scan.frames[0]


def _is_opposite(one: ScanObject, other: ScanObject) -> bool:
    return _view(one).view is not _view(other).view


def _is_partner(one: ScanObject, other: ScanObject) -> bool:
    return _is_opposite(one, other) and _mismatch(one, other) is None


def _mismatch(one: ScanObject, other: ScanObject) -> Verdict | None:
    first, second = one.header, other.header
    same_matrix = (first.rows, first.columns) == (second.rows, second.columns)
    same_camera = (first.manufacturer, first.model_name) == (second.manufacturer, second.model_name)
    same_length = first.scan_length is None or second.scan_length is None or first.scan_length == second.scan_length
    if same_matrix and same_camera and same_length and _same_spacing(first, second):
        return None
    return Verdict.of(Stage.PAIRING, Reason.MATRIX_MISMATCH)


def _same_spacing(first: Header, second: Header) -> bool:
    if first.pixel_spacing is None or second.pixel_spacing is None:
        return True
    pairs = zip(first.pixel_spacing, second.pixel_spacing, strict=True)
    return all(abs(one - other) <= _SPACING_TOLERANCE for one, other in pairs)


def _shares_group(one: ScanObject, other: ScanObject) -> bool:
    first, second = one.header, other.header
    same_reference = first.frame_of_reference_uid and first.frame_of_reference_uid == second.frame_of_reference_uid
    return bool(same_reference or (first.series_uid and first.series_uid == second.series_uid))


def _is_same_acquisition(one: ScanObject, other: ScanObject) -> bool:
    gap = _gap(one, other)
    return _shares_group(one, other) if gap is None else gap <= _SAME_ACQUISITION_SECONDS


def _candidate_pairs(scans: list[ScanObject]) -> list[tuple[ScanObject, ScanObject]]:
    """Return the pairs of opposite views of one Frame of Reference or series."""
    pairs = combinations(scans, 2)
    return [(one, other) for one, other in pairs if _is_opposite(one, other) and _shares_group(one, other)]


def _distance(pair: tuple[ScanObject, ScanObject]) -> tuple[bool, float, float]:
    """Sort key: sound pairs first, then the closest in time, then the earliest."""
    one, other = pair
    starts = [moment for scan in pair if (moment := _moment(scan.header)) is not None]
    return _mismatch(one, other) is not None, _gap(one, other) or 0.0, min(starts, default=0.0)


def _gap(one: ScanObject, other: ScanObject) -> float | None:
    """Seconds between two acquisitions; None if one has no time. Days count only if both have a date."""
    first, second = _moment(one.header), _moment(other.header)
    if first is None or second is None:
        return None
    if _day(one.header) is None or _day(other.header) is None:
        first, second = first % _DAY_SECONDS, second % _DAY_SECONDS
    return abs(first - second)


def _moment(header: Header) -> float | None:
    """Seconds since year 1, or since midnight without a date; None without a time."""
    seconds = _seconds(header.acquisition_time)
    return None if seconds is None else seconds + (_day(header) or 0) * _DAY_SECONDS


def _day(header: Header) -> int | None:
    """Ordinal of a DICOM DA value, PS3.5 section 6.2."""
    try:
        return datetime.strptime(header.acquisition_date or "", "%Y%m%d").toordinal()
    except ValueError:
        return None


def _seconds(time: str | None) -> float | None:
    """Seconds since midnight of a DICOM TM value, PS3.5 section 6.2.

    >>> _seconds("101502.5")
    36902.5
    """
    digits = (time or "").replace(":", "")
    try:
        hours, minutes, seconds = digits[:2], digits[2:4] or "0", digits[4:] or "0"
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None
