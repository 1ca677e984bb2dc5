"""The one file that knows all stages: nested generators from objects to the outcome of units."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from bsbatch.catalog import Catalog
from bsbatch.concurrency import ordered_map
from bsbatch.config import Selection
from bsbatch.dicom.header import read_header
from bsbatch.dicom.pairing import Event, Pairer
from bsbatch.dicom.pixels import decode_frames, needs_codec, read_frames
from bsbatch.dicom.reasons import EXPLANATIONS, Reason, Stage
from bsbatch.dicom.selection import decline, find_defect, may_be_scan, photopeak_frames
from bsbatch.dicom.views import resolve, without_labels
from bsbatch.errors import ItemError, WorkerLostError
from bsbatch.isolation import Isolation
from bsbatch.preprocess import compose
from bsbatch.protocols import Backend, Source
from bsbatch.pseudonyms import Pseudonymiser
from bsbatch.quality import assess
from bsbatch.records import (
    Examination,
    ExamView,
    Failure,
    FrameView,
    Header,
    ObjectRef,
    Outcome,
    Prediction,
    Quality,
    Sample,
    ScanObject,
    SettledObject,
    Unit,
    UnitOutcome,
    Verdict,
    ViewPixels,
)
from bsbatch.telemetry import Telemetry

_FRAMELESS = frozenset({Reason.DETECTOR_VECTOR_MISMATCH, Reason.TOO_LARGE, Reason.NO_PIXEL_DATA})
"""Defects of objects whose frames cannot be told or must not be counted out."""
_MAX_SETTLED = 4096
"""Objects without an examination that a unit may carry: what a kill costs where an archive holds no bone scans."""


@dataclass(slots=True)
class Intake:
    """The first half: objects in, examinations out. Reads headers, never pixels."""

    source: Source
    selection: Selection
    catalog: Catalog
    pseudonymiser: Pseudonymiser | None
    telemetry: Telemetry
    threads: int
    seen: int = 0
    """Objects listed so far, settled ones among them."""
    is_exhausted: bool = False
    """Whether the listing came to its end and every object is decided."""

    def units(self, unit_size: int, limit: int | None) -> Iterator[Unit]:
        """Cut the stream of events into units; with a limit, stop after so many new examinations."""
        exams: list[Examination] = []
        settled: list[SettledObject] = []
        for event in self._limited(limit):
            if isinstance(event, Examination):
                exams.append(event)
            else:
                settled.append(event)
            if len(exams) >= unit_size or len(settled) >= _MAX_SETTLED:
                yield Unit(tuple(exams), tuple(settled))
                exams, settled = [], []
        if exams or settled:
            yield Unit(tuple(exams), tuple(settled))

    def _limited(self, limit: int | None) -> Iterator[Event]:
        left = limit
        for event in self._events():
            yield event
            if left is not None and isinstance(event, Examination) and event.exam_id not in self.catalog.retried:
                left -= 1
                if left == 0:
                    return

    def _events(self) -> Iterator[Event]:
        pairer = Pairer(self.catalog.seen, self.catalog.closed)
        for found in ordered_map(self._inspect, self._unsettled(), self.threads):
            if isinstance(found, SettledObject):
                yield found
            else:
                yield from pairer.add(found)
        yield from pairer.finish()
        self.is_exhausted = True

    def _unsettled(self) -> Iterator[ObjectRef]:
        for listed in self.source:
            self.seen += 1
            ref = self.pseudonymiser.ref(listed) if self.pseudonymiser else listed
            if not self.catalog.is_settled(ref):
                yield ref

    def _inspect(self, ref: ObjectRef) -> ScanObject | SettledObject:
        if ref.problem is not None:
            return SettledObject(ref, None, ref.problem)
        with self.telemetry.timed("header"):
            try:
                with self.source.open(ref) as stream:
                    header = read_header(stream, ref.size, may_be_scan)
            except (ItemError, OSError) as error:
                return SettledObject(ref, None, _verdict(Stage.HEADER, error))
            return self._judge(ref, self.pseudonymiser.header(header) if self.pseudonymiser else header)

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


@dataclass(frozen=True, slots=True)
class Screening:
    """The second half: examinations in, scores out."""

    source: Source
    backend: Backend
    telemetry: Telemetry
    isolation: Isolation
    threads: int
    batch_size: int
    progress: Callable[[Iterable[Outcome]], None]
    """Told of every batch."""

    def execute(self, unit: Unit) -> UnitOutcome:
        """Read, preprocess and score the examinations of a unit, in their order."""
        outcomes: list[Outcome] = []
        for batch in batches(ordered_map(self._prepare, unit.exams, self.threads), self.batch_size):
            scored = list(self._score(batch))
            self.progress(scored)
            outcomes.extend(scored)
        return UnitOutcome(tuple(outcomes), unit.settled)

    def _prepare(self, exam: Examination) -> Sample | Failure:
        if exam.defect is not None or exam.anterior is None or exam.posterior is None:
            return Failure(exam, exam.defect or Verdict.of(Stage.PAIRING, Reason.SINGLE_VIEW_ONLY))
        try:
            with self.telemetry.timed("pixels"):
                anterior, posterior = self._read_both(exam.anterior, exam.posterior)
        except (ItemError, WorkerLostError, OSError) as error:
            return Failure(exam, _verdict(Stage.PIXELS, error))
        return self._preprocess(exam, anterior, posterior)

    def _read_both(self, anterior: ExamView, posterior: ExamView) -> tuple[ViewPixels, ...]:
        if anterior.scan is posterior.scan:
            return self._read(anterior.scan, anterior.frame.frame, posterior.frame.frame)
        return self._read(anterior.scan, anterior.frame.frame) + self._read(posterior.scan, posterior.frame.frame)

    def _read(self, scan: ScanObject, *frames: int) -> tuple[ViewPixels, ...]:
        with self.source.open(scan.ref) as stream:
            if needs_codec(scan.header):
                return self.isolation.call(decode_frames, stream.read(), scan.header, frames)
            return read_frames(stream, scan.header, frames)

    def _preprocess(self, exam: Examination, anterior: ViewPixels, posterior: ViewPixels) -> Sample | Failure:
        with self.telemetry.timed("quality"):
            quality = assess(exam, anterior, posterior)
        try:
            with self.telemetry.timed("preprocess"):
                return Sample(exam, compose(anterior.counts, posterior.counts), quality)
        except ItemError as error:
            return Failure(exam, _verdict(Stage.PREPROCESS, error), quality)

    def _score(self, batch: list[Sample | Failure]) -> Iterator[Outcome]:
        samples = [item for item in batch if isinstance(item, Sample)]
        scores = iter(self._infer(samples))
        for item in batch:
            yield _outcome(item.exam, item.quality, next(scores)) if isinstance(item, Sample) else item

    def _infer(self, samples: list[Sample]) -> list[float]:
        if not samples:
            return []
        with self.telemetry.timed("infer", len(samples)):
            images = np.stack([sample.image for sample in samples])[:, np.newaxis]
            return [float(p) for p in self.backend.infer(images)[:, 1]]


def batches(items: Iterable[Sample | Failure], size: int) -> Iterator[list[Sample | Failure]]:
    """Cut a stream so that each piece holds at most ``size`` samples, whatever else lies between them."""
    batch: list[Sample | Failure] = []
    samples = 0
    for item in items:
        batch.append(item)
        samples += isinstance(item, Sample)
        if samples == size:
            yield batch
            batch, samples = [], 0
    if batch:
        yield batch


def _outcome(exam: Examination, quality: Quality, p_metastasis: float) -> Prediction | Failure:
    if 0.0 <= p_metastasis <= 1.0:
        return Prediction(exam, quality, p_metastasis)
    return Failure(exam, Verdict.of(Stage.INFER, Reason.SCORE_INVALID), quality)


def _verdict(stage: Stage, error: ItemError | WorkerLostError | OSError) -> Verdict:
    if isinstance(error, ItemError):
        return Verdict(stage, Reason(error.reason), error.message)
    if isinstance(error, WorkerLostError):
        return Verdict(stage, Reason.DECODE_FAILED, f"the decoder crashed or hung on the pixel data ({error})")
    return Verdict(stage, Reason.READ_ERROR, EXPLANATIONS[Reason.READ_ERROR])
