"""Units of examinations to scored units: prepared in threads, batched, scored by the backend."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from bsbatch.host.threads import ordered_map, prefetch
from bsbatch.imaging.quality import Flag
from bsbatch.pipeline.batching import Batch, Item, batches
from bsbatch.pipeline.preparation import Preparation
from bsbatch.pipeline.scores import Score, is_beyond, scores_of
from bsbatch.pipeline.verdicts import verdict_of
from bsbatch.protocols import LENT_IMAGES, Backend, QueuesBatches
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import (
    Examination,
    Explanation,
    Failure,
    Inference,
    Outcome,
    Prediction,
    PreparedExam,
    Unit,
    UnitOutcome,
)

IN_A_PIECE, PIECES_AHEAD = 8, 2
"""Examinations that a thread prepares in one piece, for a hand-over takes a tenth of the time of a preparation; and
pieces in flight for each thread."""
_LENT_IN_A_PIECE = LENT_IMAGES // PIECES_AHEAD
"""Examinations in a piece where the backend lends the memory: the interpreter takes half of the time between two."""
_BATCHES_AHEAD = 1
"""Batches that are prepared while the backend scores another one, unless it queues batches itself."""


@dataclass(frozen=True, slots=True)
class _StartedBatch:
    """A batch, and the function that waits for its scores; None if it has no image."""

    batch: Batch
    finish: Callable[[], Inference] | None


@dataclass(frozen=True, slots=True)
class Screening:
    """The second half of the pipeline: examinations in, scores out."""

    preparation: Preparation
    backend: Backend
    threads: int
    """Threads that prepare examinations."""
    progress: Callable[[Iterable[Outcome]], None]
    """Called with the outcomes of every batch."""
    distance_limit: float | None = None
    """Distance beyond which an examination is unlike the training data of the model; None if the model has none."""

    def execute(self, units: Iterable[Unit]) -> Generator[UnitOutcome, None, None]:
        """Prepare and score the examinations of a stream of units, in their order.

        Batches reach across the borders of units. The next one is prepared while the backend scores the one before; a
        backend that queues batches gets each as soon as it is prepared.
        """
        queue = self.backend if isinstance(self.backend, QueuesBatches) else None
        size, ahead = (queue.queued_size, queue.queued) if queue else (self.backend.batch_size, _BATCHES_AHEAD)
        start = self._infer_later if queue is None else partial(_submit, queue)
        outcomes: list[Outcome] = []
        with closing(prefetch(map(start, batches(self._prepare(units), size)), ahead)) as ready:
            for started in self._await(ready):
                scored = self._score(started)
                self.progress(item for item in scored if not isinstance(item, Unit))
                for item in scored:
                    if isinstance(item, Unit):
                        yield UnitOutcome(tuple(outcomes), item.settled)
                        outcomes = []
                    else:
                        outcomes.append(item)

    def _await(self, ready: Iterator[_StartedBatch]) -> Iterator[_StartedBatch]:
        """Pass batches on, and measure how long the backend waited for them."""
        while True:
            with self.preparation.telemetry.measure("wait"):
                batch = next(ready, None)
            if batch is None:
                return
            yield batch

    def _prepare(self, units: Iterable[Unit]) -> Iterator[list[Item]]:
        """Yield all examinations of each unit in pieces; the unit itself, which marks its end, is last in its piece."""
        most = IN_A_PIECE if self.preparation.image_pool is None else _LENT_IN_A_PIECE
        pieces = _cut_into_pieces(units, self.threads, most)
        return ordered_map(self._prepare_piece, pieces, self.threads, ahead=PIECES_AHEAD)

    def _prepare_piece(self, piece: Sequence[Examination | Unit]) -> list[Item]:
        exams = [item for item in piece if not isinstance(item, Unit)]
        return [*self.preparation.prepare(exams), *(item for item in piece if isinstance(item, Unit))]

    def _infer_later(self, batch: Batch) -> _StartedBatch:
        return _StartedBatch(batch, None if batch.images is None else partial(self.backend.infer, batch.images))

    def _score(self, started: _StartedBatch) -> list[Outcome | Unit]:
        scores, items = self._finish(started), started.batch.items
        return [self._conclude(item, next(scores)) if isinstance(item, PreparedExam) else item for item in items]

    def _finish(self, started: _StartedBatch) -> Iterator[Score]:
        if started.finish is None:
            return iter(())
        with self.preparation.telemetry.measure("infer", len(started.batch.images or ())):
            inference = started.finish()
        return scores_of(inference)

    def _conclude(self, prepared: PreparedExam, score: Score) -> Prediction | Failure:
        p_metastasis, logit, distance, cam = score
        if not 0.0 <= p_metastasis <= 1.0:
            return Failure(prepared.exam, Verdict.of(Stage.INFER, Reason.SCORE_INVALID), prepared.quality)
        explanation: Explanation | None = None
        explainer = self.preparation.explainer
        if cam is not None and explainer.wants(p_metastasis):
            try:
                with self.preparation.telemetry.measure("explain"):
                    explanation = explainer.explain(p_metastasis, cam, prepared)
            except Exception as error:  # a bug costs one examination, not the run
                return Failure(prepared.exam, verdict_of(Stage.INFER, error), prepared.quality)
        quality = prepared.quality
        if is_beyond(distance, self.distance_limit):
            quality = quality._replace(flags=(*quality.flags, Flag.UNLIKE_TRAINING))
        return Prediction(prepared.exam, quality, p_metastasis, explanation, logit, distance)


def _submit(backend: QueuesBatches, batch: Batch) -> _StartedBatch:
    return _StartedBatch(batch, None if batch.images is None else backend.submit(batch.images).result)


def _cut_into_pieces(units: Iterable[Unit], threads: int, most: int) -> Iterator[Sequence[Examination | Unit]]:
    """Cut units into pieces for a thread, of at most so many examinations; each unit stands behind its last one."""
    for unit in units:
        size = max(1, min(most, len(unit.exams) // threads))
        for start in range(0, max(1, len(unit.exams)), size):
            is_last = start + size >= len(unit.exams)
            yield (*unit.exams[start:], unit) if is_last else unit.exams[start : start + size]
