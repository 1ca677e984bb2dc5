"""One examination prepared for the network: two views read, measured and composed into an image."""

from dataclasses import dataclass

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
from bsbatch.imaging.preprocess import check_ranges, compact, compose
from bsbatch.imaging.quality import assess, limits_of
from bsbatch.native.view_pairs import Frame, LoadedPair, PairFunctions, pair_functions
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

    def prepare(self, exam: Examination) -> PreparedExam | Failure:
        """Read the two views of an examination, measure their quality and compose the image.

        Raises
        ------
        RunError
            The run cannot go on. Any other error fails this examination alone.
        """
        if exam.defect is not None or exam.anterior is None or exam.posterior is None:
            return Failure(exam, exam.defect or Verdict.of(Stage.PAIRING, Reason.SINGLE_VIEW_ONLY))
        views = exam.anterior, exam.posterior
        try:
            compiled = self._prepare_compiled(exam, *views)
            if compiled is not None:
                return compiled
            with await_turn(exam.anterior.scan, exam.posterior.scan):
                return self._prepare_stepwise(exam, *views)
        except Exception as error:  # a bug costs one examination, not the run
            return Failure(exam, verdict_of(Stage.PREPROCESS, error))

    def _prepare_compiled(
        self, exam: Examination, anterior: ExamView, posterior: ExamView
    ) -> PreparedExam | Failure | None:
        """Go from files to image in one call of compiled code; None if the views are not of the common kind."""
        native = pair_functions()
        if native is None:
            return None
        try:
            located = self._locate(anterior, posterior)
        except Exception as error:  # a bug costs one examination, not the run
            return Failure(exam, verdict_of(Stage.PIXELS, error))
        if located is None:
            return None
        pinned = self._take()
        prepared = None
        try:
            prepared = self._load(exam, native, located, pinned)
        finally:
            if not isinstance(prepared, PreparedExam):
                self._give_back(pinned)
        return prepared

    def _load(
        self,
        exam: Examination,
        native: PairFunctions,
        located: tuple[Frame, Frame],
        pinned: PinnedImage | None,
    ) -> PreparedExam | Failure | None:
        image = np.empty(IMAGE_SHAPE, np.float32) if pinned is None else pinned
        target = image.counts if isinstance(image, PinnedImage) else image
        loaded = native.load(located, limits_of(exam), target)
        if loaded is None or not _is_plain(loaded, exam):
            return None
        for stage, seconds in zip(_COMPILED_STAGES, loaded.seconds, strict=True):
            self.telemetry.add(stage, seconds, 1)
        views = ViewPixels(loaded.stored[0]), ViewPixels(loaded.stored[1])
        with self.telemetry.measure("quality", 0):
            quality = assess(exam, *views, loaded.statistics)
        try:
            check_ranges(loaded.ranges, None if pinned is None else pinned.scales)
        except ItemError as error:
            return Failure(exam, verdict_of(Stage.PREPROCESS, error), quality)
        return self._assemble(exam, image, quality, *views)

    def _locate(self, anterior: ExamView, posterior: ExamView) -> tuple[Frame, Frame] | None:
        """Files or contents, and offsets, of two views whose frames compiled code can read."""
        front = frame_offset(anterior.scan.header, anterior.frame.frame)
        back = frame_offset(posterior.scan.header, posterior.frame.frame)
        if front is None or back is None:
            return None
        one = other = self._find(anterior.scan.ref)
        if posterior.scan is not anterior.scan:
            other = self._find(posterior.scan.ref)
        return (one[0], one[1] + front), (other[0], other[1] + back)

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
            return self._assemble(exam, image, quality, *views)
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
        anterior: ViewPixels,
        posterior: ViewPixels,
    ) -> PreparedExam:
        views = (anterior, posterior) if self.explainer.keeps_views else None
        body = self._body(image, anterior, posterior)
        if self.in_halves and not isinstance(image, PinnedImage):
            return PreparedExam(exam, image.astype(np.float16), quality, body, views)
        return PreparedExam(exam, image, quality, body, views)

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


def _is_plain(loaded: LoadedPair, exam: Examination) -> bool:
    """Return False if a view has overlays, rubbish or padding, which numpy removes."""
    if loaded.statistics is None or exam.anterior is None or exam.posterior is None:
        return False
    anterior, posterior = exam.anterior.scan.header, exam.posterior.scan.header
    front, back = loaded.statistics.views
    return front.high <= largest_plain(anterior) and back.high <= largest_plain(posterior)
