"""One examination prepared for the network: two views read, measured and composed into an image."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bsbatch.config import CamMode
from bsbatch.dicom.pixels import frame_offset
from bsbatch.dicom.samples import largest_plain
from bsbatch.errors import ItemError
from bsbatch.geometry import IMAGE_SHAPE
from bsbatch.host.workers import Isolation
from bsbatch.imaging.body import body_of
from bsbatch.imaging.gradcam import NO_MAPS, Explainer
from bsbatch.imaging.position import COMPILED_PIECES
from bsbatch.imaging.preprocess import check_ranges, compact, compose
from bsbatch.imaging.quality import assess, assess_loaded, limits_of
from bsbatch.native.view_pairs import LOADED, Frame, LoadedPair, Measured, PairRequest, pair_functions
from bsbatch.pipeline.reading import await_turn, read_views
from bsbatch.pipeline.verdicts import verdict_of
from bsbatch.protocols import ImagePool, Source
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import (
    Body,
    Examination,
    ExamView,
    Failure,
    ObjectRef,
    PinnedImage,
    PreparedExam,
    Quality,
)
from bsbatch.telemetry import Telemetry
from bsbatch.view_pixels import ViewPixels

_COMPILED_STAGES = "pixels", "quality", "preprocess"
"""Stages that compiled code reports the seconds of, in its order."""


class _Begun(NamedTuple):
    """An examination to be prepared: by compiled code if it has a request, or by numpy."""

    exam: Examination
    anterior: ExamView
    posterior: ExamView
    image: NDArray[np.float32] | PinnedImage | None = None
    stored: NDArray[np.uint16] | None = None
    """Pixels of both views, if they are needed."""
    request: PairRequest | None = None


@dataclass(frozen=True, slots=True)
class Preparation:
    """Prepares examinations; several threads may use it at once."""

    source: Source
    telemetry: Telemetry
    isolation: Isolation
    """Runs the decoders of compressed pixels, which may crash."""
    explainer: Explainer = NO_MAPS
    """Decides whether the body is located and whether the views are kept for overlays."""
    image_pool: ImagePool | None = None
    """Memory of the backend for images, if it lends some (`bsbatch.protocols.LendsImages`)."""
    in_halves: bool = False
    """True for images in float16 (`bsbatch.protocols.TakesHalves`)."""

    def prepare(self, exams: Sequence[Examination]) -> list[PreparedExam | Failure]:
        """Read the two views of each examination, measure their quality and compose the image.

        Compiled code does its part of all of them in one call. A thread that returns from a call waits for the
        interpreter lock, and the pixels have driven the interpreter's memory out of the cache.

        Raises
        ------
        RunError
            The run cannot go on. Any other error fails its examination alone.
        """
        begun = [self._begin(exam) for exam in exams]
        loaded = self._load([item.request for item in begun if isinstance(item, _Begun) and item.request])
        return [item if isinstance(item, Failure) else self._finish(item, loaded) for item in begun]

    def _begin(self, exam: Examination) -> "_Begun | Failure":
        """Locate the views of an examination, and take memory for its image if compiled code can read them."""
        if exam.defect is not None or exam.anterior is None or exam.posterior is None:
            return Failure(exam, exam.defect or Verdict.of(Stage.PAIRING, Reason.SINGLE_VIEW_ONLY))
        begun = _Begun(exam, exam.anterior, exam.posterior)
        try:
            located = None if pair_functions() is None else self._locate(exam.anterior, exam.posterior)
            return begun if located is None else self._request(begun, located)
        except Exception as error:  # a bug costs one examination, not the run
            return Failure(exam, verdict_of(Stage.PIXELS, error))

    def _request(self, begun: "_Begun", located: tuple[Frame, Frame]) -> "_Begun":
        """Add memory for the image and a request to compiled code, if that accepts the views."""
        pinned, request = self._take(), None
        image = np.empty(IMAGE_SHAPE, np.float32) if pinned is None else pinned
        target = image.counts if isinstance(image, PinnedImage) else image
        stored = np.empty((2, *LOADED), np.uint16) if self._keeps_pixels else None
        try:
            request = PairRequest.of(located, target, limits_of(begun.exam), stored)
        finally:
            if request is None:
                self._give_back(pinned)
        if request is None:
            return begun
        return _Begun(begun.exam, begun.anterior, begun.posterior, image, stored, request)

    def _load(self, requests: "list[PairRequest]") -> Iterator[LoadedPair | Verdict | None]:
        """Load views with compiled code; a verdict for each of them after a bug."""
        native = pair_functions()
        if native is None or not requests:
            return iter(())
        try:
            loaded = native.load(requests, COMPILED_PIECES)
        except Exception as error:  # a bug costs a few examinations, not the run
            return repeat(verdict_of(Stage.PREPROCESS, error))
        seconds = [pair.seconds for pair in loaded if pair is not None]
        for stage, spent in zip(_COMPILED_STAGES, zip(*seconds, strict=True), strict=False):
            self.telemetry.add(stage, sum(spent), len(spent))
        return iter(loaded)

    def _finish(self, begun: "_Begun", loaded: Iterator[LoadedPair | Verdict | None]) -> PreparedExam | Failure:
        exam, anterior, posterior = begun.exam, begun.anterior, begun.posterior
        try:
            prepared = None if begun.request is None else self._conclude(begun, next(loaded))
            if prepared is not None:
                return prepared
            with await_turn(anterior.scan, posterior.scan):
                return self._prepare_stepwise(exam, anterior, posterior)
        except Exception as error:  # a bug costs one examination, not the run
            return Failure(exam, verdict_of(Stage.PREPROCESS, error))

    def _conclude(self, begun: "_Begun", loaded: LoadedPair | Verdict | None) -> PreparedExam | Failure | None:
        """Conclude from what compiled code has loaded; None if the views are not of the common kind."""
        prepared = None
        try:
            prepared = Failure(begun.exam, loaded) if isinstance(loaded, Verdict) else self._assess(begun, loaded)
        finally:
            if isinstance(begun.image, PinnedImage) and not isinstance(prepared, PreparedExam):
                self._give_back(begun.image)
        return prepared

    def _assess(self, begun: "_Begun", loaded: LoadedPair | None) -> PreparedExam | Failure | None:
        exam, image = begun.exam, begun.image
        if loaded is None or loaded.measured is None or image is None or not _is_plain(loaded.measured, begun):
            return None
        quality = assess_loaded(exam, loaded.measured)
        try:
            check_ranges(loaded.ranges, image.scales if isinstance(image, PinnedImage) else None)
        except ItemError as error:
            return Failure(exam, verdict_of(Stage.PREPROCESS, error), quality)
        views = None if begun.stored is None else (ViewPixels(begun.stored[0]), ViewPixels(begun.stored[1]))
        return self._assemble(exam, image, quality, views)

    def _locate(self, anterior: ExamView, posterior: ExamView) -> tuple[Frame, Frame] | None:
        """Files or contents, and offsets, of two views whose frames compiled code can read."""
        one, other = anterior.scan, posterior.scan
        front = frame_offset(one.header, anterior.frame.frame)
        back = frame_offset(other.header, posterior.frame.frame)
        if front is None or back is None:
            return None
        file, start = self._find(one.ref)
        if other is one:
            return (file, start + front), (file, start + back)
        partner, begin = self._find(other.ref)
        return (file, start + front), (partner, begin + back)

    def _find(self, ref: ObjectRef) -> Frame:
        """An object in a file, or its content, and the offset of its first byte there."""
        file = self.source.file(ref)
        if file is not None:
            return file, file.offset
        with self.telemetry.measure("pixels", 0), self.source.open(ref) as stream:
            return stream.read(), 0

    def _prepare_stepwise(self, exam: Examination, anterior: ExamView, posterior: ExamView) -> PreparedExam | Failure:
        """Read, measure and compose one after the other: any transfer syntax, size and source."""
        try:
            with self.telemetry.measure("pixels"):
                views = self._read_both(anterior, posterior)
        except Exception as error:  # a bug costs one examination, not the run
            return Failure(exam, verdict_of(Stage.PIXELS, error))
        with self.telemetry.measure("quality"):
            quality = assess(exam, *views)
        try:
            with self.telemetry.measure("preprocess"):
                image = self._compose(*(view.values for view in views))
        except ItemError as error:
            return Failure(exam, verdict_of(Stage.PREPROCESS, error), quality)
        try:
            return self._assemble(exam, image, quality, views)
        except BaseException:
            self._give_back(image if isinstance(image, PinnedImage) else None)
            raise

    def _read_both(self, anterior: ExamView, posterior: ExamView) -> tuple[ViewPixels, ViewPixels]:
        if anterior.scan is posterior.scan:
            frames = anterior.frame.frame, posterior.frame.frame
            front, back = read_views(self.source, self.isolation, anterior.scan, *frames)
        else:
            (front,) = read_views(self.source, self.isolation, anterior.scan, anterior.frame.frame)
            (back,) = read_views(self.source, self.isolation, posterior.scan, posterior.frame.frame)
        return front, back

    def _compose(
        self, anterior: NDArray[np.generic], posterior: NDArray[np.generic]
    ) -> NDArray[np.float32] | PinnedImage:
        pinned = self._take()
        if pinned is None:
            return compose(anterior, posterior)
        try:
            compact(anterior, posterior, pinned.counts, pinned.scales)
        except BaseException:
            self._give_back(pinned)
            raise
        return pinned

    def _assemble(
        self,
        exam: Examination,
        image: NDArray[np.float32] | PinnedImage,
        quality: Quality,
        views: tuple[ViewPixels, ViewPixels] | None,
    ) -> PreparedExam:
        body = None if views is None else self._body(image, *views)
        kept = views if self.explainer.keeps_views else None
        if self.in_halves and not isinstance(image, PinnedImage):
            return PreparedExam(exam, image.astype(np.float16), quality, body, kept)
        return PreparedExam(exam, image, quality, body, kept)

    @property
    def _keeps_pixels(self) -> bool:
        """True if the views are needed once they are measured and composed."""
        return self.explainer.keeps_views or self.explainer.mode is not CamMode.NONE

    def _body(
        self, image: NDArray[np.float32] | PinnedImage, anterior: ViewPixels, posterior: ViewPixels
    ) -> Body | None:
        """Locate the body for the heat map: here, in one of several threads, instead of between two batches."""
        if self.explainer.mode is CamMode.NONE:
            return None
        with self.telemetry.measure("body"):
            return body_of(compose(anterior.values, posterior.values) if isinstance(image, PinnedImage) else image)

    def _take(self) -> PinnedImage | None:
        return None if self.image_pool is None else self.image_pool.take()

    def _give_back(self, image: PinnedImage | None) -> None:
        if self.image_pool is not None and image is not None:
            self.image_pool.give_back(image)


def _is_plain(measured: Measured, begun: _Begun) -> bool:
    """Return False if a view has overlays, rubbish or padding, which numpy removes."""
    front, back = measured.views
    largest = largest_plain(begun.anterior.scan.header), largest_plain(begun.posterior.scan.header)
    return front.high <= largest[0] and back.high <= largest[1]
