"""Objects to units of examinations: listing, headers, views, pairing.

An object with both views is an examination at once, if its study was asked for. All other objects wait for the end of
the listing, and then their studies are decided. A study may have rows already, from this run or an earlier one. It is
then revised: decided anew from all its objects, and only the rows that come out otherwise are written again.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from io import SEEK_END
from itertools import chain
from typing import BinaryIO

from bsbatch.config import Selection, TracerRule
from bsbatch.dicom.copies import Digests
from bsbatch.dicom.headers.read import HEAD, header_in, read_header
from bsbatch.dicom.isotope import identify, is_other_nuclide
from bsbatch.dicom.labels import label_of
from bsbatch.dicom.pairing import Event, decide, examine, has_both_views
from bsbatch.dicom.selection import decline, find_defect, find_gap, may_be_scan, photopeak_frames
from bsbatch.dicom.views import resolve, without_labels
from bsbatch.errors import ItemError
from bsbatch.host.threads import adaptive_map
from bsbatch.host.workers import Isolation
from bsbatch.identity import DigestSet, digest, exam_id
from bsbatch.pipeline.choosing import ALL_STUDIES, NOT_SELECTED, Choosing, is_left_out
from bsbatch.pipeline.demographics import describe, study_day
from bsbatch.pipeline.reading import read_digests
from bsbatch.pipeline.verdicts import verdict_of
from bsbatch.pipeline.waiting import Packed, WaitingRoom, key_of
from bsbatch.protocols import Source
from bsbatch.pseudonyms import PatientKeys, Pseudonymiser
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import Examination, FrameView, Header, ObjectRef, ScanLabel, ScanObject, SettledObject, Unit
from bsbatch.store.catalog import Catalog
from bsbatch.store.committed import Committed, uid_digest
from bsbatch.telemetry import Telemetry
from bsbatch.tracers.record import Tracer

_FRAMELESS = frozenset({Reason.DETECTOR_VECTOR_MISMATCH, Reason.TOO_LARGE, Reason.NO_PIXEL_DATA})
"""Defects of objects whose frames cannot be identified or must not be expanded."""
_WAITING_AT_ONCE = 64
"""Headers that a slow file system is asked for at once. A bucket is asked for as many in each thread."""
_MAX_SETTLED = 4096
"""Objects without an examination in a unit, at most: the work that a kill loses if an archive holds no bone scans."""


@dataclass(slots=True)
class Intake:
    """The first half of the pipeline: objects in, examinations out.

    Reads headers; pixels only of studies with more objects than one examination has, to find copies.
    """

    source: Source
    selection: Selection
    catalog: Catalog
    telemetry: Telemetry
    isolation: Isolation
    """Runs the decoders of compressed pixels, which may crash."""
    threads: int
    patient_keys: PatientKeys = field(default_factory=PatientKeys.random)
    pseudonymiser: Pseudonymiser | None = None
    is_identified: bool = False
    """True if rows name the patient (`bsbatch.patients.record.Identity`)."""
    choosing: Choosing = ALL_STUDIES
    """Decides which studies are scored."""
    holds_all: bool = False
    """True if no rows are kept that could be revised: every object waits for the end of the listing."""
    seen: int = 0
    """Objects listed so far, settled ones among them."""
    is_exhausted: bool = False
    """True once the whole listing was read."""
    needs_revision: bool = False
    """True if a study with rows has a further object; `revise` decides it."""
    is_stopping: Callable[[], bool] = lambda: False
    """True once the run is to end: no further header is read, however long the listing goes on without a unit."""
    _waiting: WaitingRoom = field(default_factory=WaitingRoom)

    def units(self, unit_size: int, limit: int | None, first: int | None = None) -> Iterator[Unit]:
        """Cut the stream of events into units.

        Parameters
        ----------
        unit_size
            Examinations in a unit, at most.
        limit
            Stop after this many new examinations.
        first
            Examinations in the first unit, a small number so that its rows are committed soon. Each later unit may be
            twice as large as the one before.
        """
        yield from _cut(self._limit(limit), unit_size, min(first or unit_size, unit_size))

    def revise(self, committed: Committed, unit_size: int) -> Iterator[Unit]:
        """Decide anew the studies with rows that have further objects; to be called after `units` has ended.

        Rows that come out otherwise are withdrawn before the first unit is yielded.

        Parameters
        ----------
        committed
            The rows of this and of earlier runs.
        unit_size
            Examinations in a unit, at most.

        Raises
        ------
        OutputError
            A part cannot be read or written.
        """
        touched = DigestSet(filter(self.catalog.studies.__contains__, self._waiting))
        committed.open(touched)
        refs = Packed(ref for ref in self._list() if committed.includes(ref.source))
        committed.settle_gone(DigestSet(digest(ref.source) for ref in refs), self._uids(touched))
        unreadable = Packed[Event]()
        rest = (ref for ref in refs if committed.includes(ref.source))
        for found in self._inspect_all(rest):
            if self.is_stopping():
                return
            if isinstance(found, ScanObject):
                self._waiting.add(found)
            else:
                unreadable.append(found)
        yield from _cut(self._changes(committed, touched, unreadable), unit_size, unit_size)

    def _uids(self, studies: DigestSet) -> DigestSet:
        """Digests of the UIDs of the waiting objects of some studies."""
        waiting = (scan for scans in self._waiting.studies(studies.__contains__) for scan in scans)
        uids = (uid_digest(key_of(scan), scan.header.sop_uid) for scan in waiting)
        return DigestSet(uid for uid in uids if uid is not None)

    def _changes(self, committed: Committed, touched: DigestSet, unreadable: Iterable[Event]) -> Iterator[Event]:
        """Withdraw the rows that come out otherwise, and yield the events that replace them."""
        decided = (event for scans in self._waiting.studies(touched.__contains__) for event in self._decide(scans))
        changes = Packed(event for event in chain(unreadable, decided) if not committed.agrees(event))
        committed.withdraw()
        yield from changes

    def _limit(self, limit: int | None) -> Iterator[Event]:
        left = limit
        for event in self._events():
            yield event
            if left is not None and isinstance(event, Examination) and event.exam_id not in self.catalog.retried:
                left -= 1
                if left == 0:
                    return

    def _events(self) -> Iterator[Event]:
        known = self.catalog.studies
        for found in self._inspect_all(self._list_unsettled()):
            if self.is_stopping():
                return
            if isinstance(found, SettledObject):
                yield found
            elif self._is_ready(found) and (key := key_of(found)) not in known:
                known.add(key)
                yield examine((found,))
            else:
                self._waiting.add(found)
        self.needs_revision = any(key in known for key in self._waiting)
        for scans in self._waiting.studies(lambda key: key not in known):
            yield from self._decide(scans)
        self.is_exhausted = True

    def _is_ready(self, scan: ScanObject) -> bool:
        """Return True if an object is an examination whatever else its study holds; revisions see to the rest."""
        return scan.is_wanted is True and has_both_views(scan) and not self.holds_all

    def _decide(self, scans: list[ScanObject]) -> list[Event]:
        """Decide a study. A bug fails its objects together, and costs no other study."""
        if is_left_out(scans):
            return [SettledObject(scan.ref, scan.header, NOT_SELECTED) for scan in scans]
        try:
            return decide(scans, self._read_digests)
        except Exception as error:  # see `verdict_of`
            return [Examination(exam_id(scans), tuple(scans), None, None, verdict_of(Stage.PAIRING, error))]

    def _read_digests(self, scan: ScanObject) -> Digests | Verdict:
        with self.telemetry.measure("copies"):
            return read_digests(self.source, self.isolation, scan)

    def _list(self) -> Iterator[ObjectRef]:
        """List the archive as its rows name it."""
        return map(self.pseudonymiser.ref, self.source) if self.pseudonymiser else iter(self.source)

    def _list_unsettled(self) -> Iterator[ObjectRef]:
        for ref in self._list():
            self.seen += 1
            if not self.catalog.is_settled(ref):
                yield ref

    def _inspect_all(self, refs: Iterable[ObjectRef]) -> Iterator[ScanObject | SettledObject]:
        """Read and judge headers. A source that reads one object after another waits in more threads."""
        count = self.source.heads_at_once
        most = _WAITING_AT_ONCE if count < _WAITING_AT_ONCE else 0
        return adaptive_map(self._inspect_chunk, refs, self.threads, count, most)

    def _inspect_chunk(self, refs: list[ObjectRef]) -> list[ScanObject | SettledObject]:
        with self.telemetry.measure("header", len(refs)):
            try:
                heads = iter(self.source.heads([ref for ref in refs if ref.problem is None], HEAD))
            except Exception as error:  # a bug costs few objects, not the run
                verdict = verdict_of(Stage.HEADER, error)
                return [SettledObject(ref, None, ref.problem or verdict) for ref in refs]
            return [
                self._inspect(ref, next(heads)) if ref.problem is None else SettledObject(ref, None, ref.problem)
                for ref in refs
            ]

    def _inspect(self, ref: ObjectRef, head: bytes | ItemError) -> ScanObject | SettledObject:
        try:
            header = self._header(ref, head)
            header = self.pseudonymiser.header(header) if self.pseudonymiser else header
            return self._judge(ref, header)
        except Exception as error:  # a bug costs one object, not the run
            return SettledObject(ref, None, verdict_of(Stage.HEADER, error))

    def _header(self, ref: ObjectRef, head: bytes | ItemError) -> Header:
        if isinstance(head, ItemError):
            raise head
        header = header_in(head, ref.size, may_be_scan)
        if header is not None and (ref.size is not None or decline(header) is not None):
            return header
        with self.source.open(ref) as stream:
            return read_header(stream, _size_of(stream) if ref.size is None else ref.size, may_be_scan)

    def _judge(self, ref: ObjectRef, named: Header) -> ScanObject | SettledObject:
        header = self.patient_keys.header(named)
        verdict = decline(header)
        if verdict is not None:
            return SettledObject(ref, header, verdict)
        defect = find_defect(header, self.selection.max_pixels)
        views, label = self._views(header, defect), label_of(header)
        other_nuclide, tracer = self._judge_tracer(header, views, identify(header))
        header, defect = without_labels(header), defect or other_nuclide
        person = describe(named, self.patient_keys, is_identified=self.is_identified)
        is_wanted = self.choosing.judge(header, person.accession_key, study_day(named))
        if isinstance(views, tuple):
            defect = defect or (find_gap(header) if len(views) == 1 else None)
            return ScanObject(ref, header, views, defect, label, tracer, person, is_wanted)
        if views.reason is Reason.LATERAL_VIEW:
            return SettledObject(ref, header, views)
        return ScanObject(ref, header, (), defect or views, ScanLabel(), tracer, person, is_wanted)

    def _judge_tracer(
        self, header: Header, views: tuple[FrameView, ...] | Verdict, tracer: Tracer
    ) -> tuple[Verdict | None, Tracer]:
        """Return the defect of a scan of another nuclide, unless its energy window turns it down already."""
        if self.selection.tracer is TracerRule.ANY:
            has_other_window = photopeak_frames(header) is Reason.WRONG_ISOTOPE_WINDOW
            return None, tracer._replace(is_other=True) if has_other_window else tracer
        is_refused = isinstance(views, Verdict) and views.reason is Reason.WRONG_ISOTOPE_WINDOW
        if is_refused or not tracer.is_other or not is_other_nuclide(tracer):
            return None, tracer
        return Verdict.of(Stage.HEADER, Reason.OTHER_RADIONUCLIDE), tracer

    def _views(self, header: Header, defect: Verdict | None) -> tuple[FrameView, ...] | Verdict:
        if defect is not None and defect.reason in _FRAMELESS:
            return defect
        frames = photopeak_frames(header, any_window=self.selection.tracer is TracerRule.ANY)
        if isinstance(frames, Reason):
            return Verdict.of(Stage.HEADER, frames)
        return resolve(header, frames, assume_order=self.selection.assume_frame_order)


def may_be_opened(head: bytes) -> bool:
    """Return True for the first bytes of an object of which a run may read others."""
    try:
        header = header_in(head, None, may_be_scan)
    except Exception:  # it becomes a row when the object is read
        return False
    return header is None or decline(header) is None


def _size_of(stream: BinaryIO) -> int:
    size = stream.seek(0, SEEK_END)
    stream.seek(0)
    return size


def _cut(events: Iterable[Event], most: int, first: int) -> Iterator[Unit]:
    """Cut events into units of at most ``most`` examinations; each may be twice as large as the one before."""
    exams: list[Examination] = []
    settled: list[SettledObject] = []
    size = first
    for event in events:
        if isinstance(event, Examination):
            exams.append(event)
        else:
            settled.append(event)
        if len(exams) >= size or len(settled) >= _MAX_SETTLED:
            yield Unit(tuple(exams), tuple(settled))
            exams, settled, size = [], [], min(2 * size, most)
    if exams or settled:
        yield Unit(tuple(exams), tuple(settled))
