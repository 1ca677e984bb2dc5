"""The one file that knows all stages: nested generators from objects to the outcome of units."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsbatch.config import CamMode
from bsbatch.dicom.pixels import decode_frames, frame_offset, needs_codec, read_frames
from bsbatch.errors import ItemError, WorkerLostError
from bsbatch.host.threads import FreeList, ordered_map, prefetch
from bsbatch.host.workers import Isolation
from bsbatch.imaging.body import body_of
from bsbatch.imaging.gradcam import NO_MAPS, Explainer
from bsbatch.imaging.preprocess import SHAPE, check_ranges, compact, compose
from bsbatch.imaging.quality import assess, limits_of
from bsbatch.native.view_pairs import Frame, pair_functions
from bsbatch.pipeline.batching import Batch, batches
from bsbatch.pipeline.verdicts import _verdict
from bsbatch.protocols import Backend, Source
from bsbatch.reasons import Reason, Stage
from bsbatch.records import (
    Body,
    Examination,
    ExamView,
    Explanation,
    Failure,
    Outcome,
    Prediction,
    Quality,
    Sample,
    ScanObject,
    Unit,
    UnitOutcome,
    Verdict,
    ViewPixels,
)
from bsbatch.telemetry import Telemetry

IN_A_PIECE, PIECES_AHEAD = 8, 2
"""Examinations that a thread takes at once, for handing one over takes a tenth of the time that it is worked on; and
how many such pieces are in flight for each thread."""
_BATCHES_AHEAD = 1
_STAGES = "pixels", "quality", "preprocess"
"""What compiled code tells the seconds of."""
Score = tuple[float, NDArray[np.float32] | None]
"""``p_metastasis``, and the backend's map where it gives one."""


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
    explainer: Explainer = NO_MAPS
    """Makes heat maps of what the backend gives."""

    def execute(self, units: Iterable[Unit]) -> Generator[UnitOutcome, None, None]:
        """Read, preprocess and score the examinations of a stream of units, in their order.

        Batches reach across the borders of units and are filled while the backend is at work on those before.
        """
        outcomes: list[Outcome] = []
        with closing(prefetch(batches(self._prepared(units), self.batch_size), _BATCHES_AHEAD)) as ready:
            for batch in self._awaited(ready):
                scored = self._score(batch)
                self.progress(item for item in scored if not isinstance(item, Unit))
                for item in scored:
                    if isinstance(item, Unit):
                        yield UnitOutcome(tuple(outcomes), item.settled)
                        outcomes = []
                    else:
                        outcomes.append(item)

    def _awaited(self, ready: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches; how long the backend waited for them is measured."""
        while True:
            with self.telemetry.measure("wait"):
                batch = next(ready, None)
            if batch is None:
                return
            yield batch

    def _prepared(self, units: Iterable[Unit]) -> Iterator[Sample | Failure | Unit]:
        """All examinations of each unit, and then the unit itself, which marks its end."""
        for piece in ordered_map(self._prepare, _pieces(units, self.threads), self.threads, ahead=PIECES_AHEAD):
            yield from piece

    def _prepare(self, piece: Sequence[Examination | Unit]) -> list[Sample | Failure | Unit]:
        return [item if isinstance(item, Unit) else self._sample(item) for item in piece]

    def _sample(self, exam: Examination) -> Sample | Failure:
        if exam.defect is not None or exam.anterior is None or exam.posterior is None:
            return Failure(exam, exam.defect or Verdict.of(Stage.PAIRING, Reason.SINGLE_VIEW_ONLY))
        return self._at_once(exam, exam.anterior, exam.posterior) or self._in_steps(exam, exam.anterior, exam.posterior)

    def _at_once(self, exam: Examination, anterior: ExamView, posterior: ExamView) -> Sample | Failure | None:
        """From files to image in one call of compiled code, as most examinations go; None for every other one."""
        native, front, back = pair_functions(), self._frame(anterior), self._frame(posterior)
        if native is None or front is None or back is None:
            return None
        place = self._place()
        target = np.empty(SHAPE, np.float32) if place is None else place.counts
        taken = native.load((front, back), limits_of(exam), target)
        if taken is None:
            self._give_back(place)
            return None
        for stage, seconds in zip(_STAGES, taken.seconds, strict=True):
            self.telemetry.add(stage, seconds, 1)
        views = ViewPixels(taken.stored[0]), ViewPixels(taken.stored[1])
        with self.telemetry.measure("quality", 0):
            quality = assess(exam, *views, taken.statistics)
        try:
            check_ranges(taken.ranges, None if place is None else place.scales)
        except ItemError as error:
            self._give_back(place)
            return Failure(exam, _verdict(Stage.PREPROCESS, error), quality)
        return self._sampled(exam, target if place is None else place, quality, *views)

    def _frame(self, view: ExamView) -> Frame | None:
        """Where the file system has it, if it is what compiled code takes."""
        path, place = self.source.path(view.scan.ref), frame_offset(view.scan.header, view.frame.frame)
        return (path, place) if path is not None and place is not None else None

    def _in_steps(self, exam: Examination, anterior: ExamView, posterior: ExamView) -> Sample | Failure:
        try:
            with self.telemetry.measure("pixels"):
                views = self._read_both(anterior, posterior)
        except (ItemError, WorkerLostError, OSError) as error:
            return Failure(exam, _verdict(Stage.PIXELS, error))
        return self._preprocess(exam, *views)

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
        with self.telemetry.measure("quality"):
            quality = assess(exam, anterior, posterior)
        try:
            with self.telemetry.measure("preprocess"):
                image = self._composed(anterior.values, posterior.values)
        except ItemError as error:
            return Failure(exam, _verdict(Stage.PREPROCESS, error), quality)
        return self._sampled(exam, image, quality, anterior, posterior)

    def _sampled(
        self, exam: Examination, image: Any, quality: Quality, anterior: ViewPixels, posterior: ViewPixels
    ) -> Sample:
        views = (anterior, posterior) if self.explainer.keeps_views else None
        return Sample(exam, image, quality, self._body(image, anterior, posterior), views)

    def _composed(self, anterior: NDArray[np.generic], posterior: NDArray[np.generic]) -> Any:
        place = self._place()
        if place is None:
            return compose(anterior, posterior)
        try:
            compact(anterior, posterior, place.counts, place.scales)
        except ItemError:
            self._give_back(place)
            raise
        return place

    def _place(self) -> Any:
        """Memory of the backend for an image, where it lends some, see `bsbatch.protocols.Backend`; else None."""
        return None if self._places is None else self._places.take()

    def _give_back(self, place: Any) -> None:
        if self._places is not None:
            self._places.give_back(place)

    @property
    def _places(self) -> FreeList[Any] | None:
        return getattr(self.backend, "places", None)

    def _body(self, image: Any, anterior: ViewPixels, posterior: ViewPixels) -> Body | None:
        """Looked for here, where there are threads, and not between two batches."""
        if self.explainer.mode is CamMode.NONE:
            return None
        with self.telemetry.measure("body"):
            is_composed = isinstance(image, np.ndarray)
            return body_of(image if is_composed else compose(anterior.values, posterior.values))

    def _score(self, batch: Batch) -> list[Outcome | Unit]:
        scores = self._infer(batch.images)
        return [self._outcome(item, *next(scores)) if isinstance(item, Sample) else item for item in batch.items]

    def _infer(self, images: Any) -> Iterator[Score]:
        if images is None:
            return iter(())
        with self.telemetry.measure("infer", len(images)):
            given = self.backend.infer(images)
        cams = repeat(None) if given.cams is None else given.cams
        return zip(map(float, given.probabilities[:, 1]), cams, strict=False)

    def _outcome(self, sample: Sample, p_metastasis: float, cam: NDArray[np.float32] | None) -> Prediction | Failure:
        if not 0.0 <= p_metastasis <= 1.0:
            return Failure(sample.exam, Verdict.of(Stage.INFER, Reason.SCORE_INVALID), sample.quality)
        explanation: Explanation | None = None
        if cam is not None and self.explainer.wants(p_metastasis):
            with self.telemetry.measure("explain"):
                explanation = self.explainer.explain(p_metastasis, cam, sample)
        return Prediction(sample.exam, sample.quality, p_metastasis, explanation)


def _pieces(units: Iterable[Unit], threads: int) -> Iterator[Sequence[Examination | Unit]]:
    """What a thread takes at once: a few examinations of a unit, the unit itself behind its last ones."""
    for unit in units:
        size = max(1, min(IN_A_PIECE, len(unit.exams) // threads))
        for start in range(0, max(1, len(unit.exams)), size):
            is_last = start + size >= len(unit.exams)
            yield (*unit.exams[start:], unit) if is_last else unit.exams[start : start + size]
