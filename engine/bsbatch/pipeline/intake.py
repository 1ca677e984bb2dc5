"""Objects to units of examinations: listing, headers, views, pairing."""

from collections.abc import Iterator
from dataclasses import dataclass

from bsbatch.config import Selection
from bsbatch.dicom.headers.read import HEAD, header_in, read_header
from bsbatch.dicom.pairing import Event, Pairer
from bsbatch.dicom.selection import decline, find_defect, may_be_scan, photopeak_frames
from bsbatch.dicom.views import resolve, without_labels
from bsbatch.errors import ItemError
from bsbatch.host.threads import adaptive_map
from bsbatch.pipeline.verdicts import verdict_of
from bsbatch.protocols import Source
from bsbatch.pseudonyms import Pseudonymiser
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import Examination, FrameView, Header, ObjectRef, ScanObject, SettledObject, Unit
from bsbatch.store.catalog import Catalog
from bsbatch.telemetry import Telemetry

_FRAMELESS = frozenset({Reason.DETECTOR_VECTOR_MISMATCH, Reason.TOO_LARGE, Reason.NO_PIXEL_DATA})
"""Defects of objects whose frames cannot be identified or must not be expanded."""
_MAX_SETTLED = 4096
"""Objects without an examination in a unit, at most: the work that a kill loses if an archive holds no bone scans."""
_HEADERS_AT_ONCE = 16
"""Objects in one piece for a thread; most are rejected within 0.1 ms."""


@dataclass(slots=True)
class Intake:
    """The first half of the pipeline: objects in, examinations out. Reads headers, never pixels."""

    source: Source
    selection: Selection
    catalog: Catalog
    pseudonymiser: Pseudonymiser | None
    telemetry: Telemetry
    threads: int
    seen: int = 0
    """Objects listed so far, settled ones among them."""
    is_exhausted: bool = False
    """True once the whole listing was read and every object is decided."""

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
        exams: list[Examination] = []
        settled: list[SettledObject] = []
        size = min(first or unit_size, unit_size)
        for event in self._limit(limit):
            if isinstance(event, Examination):
                exams.append(event)
            else:
                settled.append(event)
            if len(exams) >= size or len(settled) >= _MAX_SETTLED:
                yield Unit(tuple(exams), tuple(settled))
                exams, settled, size = [], [], min(2 * size, unit_size)
        if exams or settled:
            yield Unit(tuple(exams), tuple(settled))

    def _limit(self, limit: int | None) -> Iterator[Event]:
        left = limit
        for event in self._events():
            yield event
            if left is not None and isinstance(event, Examination) and event.exam_id not in self.catalog.retried:
                left -= 1
                if left == 0:
                    return

    def _events(self) -> Iterator[Event]:
        pairer = Pairer(self.catalog.seen, self.catalog.closed)
        for found in adaptive_map(self._inspect, self._list_unsettled(), self.threads, _HEADERS_AT_ONCE):
            if isinstance(found, SettledObject):
                yield found
            else:
                yield from pairer.add(found)
        yield from pairer.finish()
        self.is_exhausted = True

    def _list_unsettled(self) -> Iterator[ObjectRef]:
        for listed in self.source:
            self.seen += 1
            ref = self.pseudonymiser.ref(listed) if self.pseudonymiser else listed
            if not self.catalog.is_settled(ref):
                yield ref

    def _inspect(self, ref: ObjectRef) -> ScanObject | SettledObject:
        if ref.problem is not None:
            return SettledObject(ref, None, ref.problem)
        with self.telemetry.measure("header"):
            try:
                header = self._header(ref)
            except (ItemError, OSError) as error:
                return SettledObject(ref, None, verdict_of(Stage.HEADER, error))
            return self._judge(ref, self.pseudonymiser.header(header) if self.pseudonymiser else header)

    def _header(self, ref: ObjectRef) -> Header:
        header = header_in(self.source.head(ref, HEAD), ref.size, may_be_scan)
        if header is not None:
            return header
        with self.source.open(ref) as stream:
            return read_header(stream, ref.size, may_be_scan)

    def _judge(self, ref: ObjectRef, header: Header) -> ScanObject | SettledObject:
        verdict = decline(header)
        if verdict is not None:
            return SettledObject(ref, header, verdict)
        defect = find_defect(header, self.selection.max_pixels)
        views = self._views(header, defect)
        header = without_labels(header)
        if isinstance(views, tuple):
            return ScanObject(ref, header, views, defect)
        if views.reason is Reason.LATERAL_VIEW:
            return SettledObject(ref, header, views)
        return ScanObject(ref, header, (), defect or views)

    def _views(self, header: Header, defect: Verdict | None) -> tuple[FrameView, ...] | Verdict:
        if defect is not None and defect.reason in _FRAMELESS:
            return defect
        frames = photopeak_frames(header)
        if isinstance(frames, Reason):
            return Verdict.of(Stage.HEADER, frames)
        return resolve(header, frames, assume_order=self.selection.assume_frame_order)
