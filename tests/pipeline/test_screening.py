"""Units, batches and threads: which work overlaps, and at which points the stream is cut."""

import os
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.archives import Scan, dataset_of, write
from tests.dicom.objects import scan

from bsbatch.backends.fake import FakeBackend
from bsbatch.config import CamMode, Effort, Selection
from bsbatch.dicom.pairing import examine
from bsbatch.host.threads import FreeList
from bsbatch.host.workers import Isolation
from bsbatch.imaging import preprocess, quality
from bsbatch.imaging.gradcam import NO_MAPS, Explainer
from bsbatch.imaging.quality import Flag
from bsbatch.native.view_pairs import PairFunctions, pair_functions
from bsbatch.pipeline import preparation
from bsbatch.pipeline.batching import Batch, batches
from bsbatch.pipeline.intake import Intake
from bsbatch.pipeline.preparation import Preparation
from bsbatch.pipeline.screening import Screening, _cut_into_pieces
from bsbatch.protocols import ImagePool, Images, LendsImages
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import (
    Examination,
    Failure,
    Inference,
    Outcome,
    PinnedImage,
    Prediction,
    PreparedExam,
    Quality,
    Unit,
    UnitOutcome,
)
from bsbatch.sources.directory import DirectorySource
from bsbatch.store.catalog import Catalog
from bsbatch.telemetry import Telemetry

PATIENCE = 10.0
EXAM = examine((scan("AP", "a"),))
QUALITY = Quality(1.0, 1.0, 1.0, 1.0, 0.5, 0, (), "0" * 64)
SAMPLE = PreparedExam(EXAM, np.zeros((1, 1), np.float32), QUALITY)
FAILURE = Failure(EXAM, Verdict.of(Stage.PIXELS, Reason.ALL_ZERO))
END = Unit((), ())
ITEMS: dict[str, PreparedExam | Failure | Unit] = {"s": SAMPLE, "f": FAILURE, "|": END}


class Watched(FakeBackend):
    """Tells the sizes of its batches, and stops at the first one until it is let go."""

    def __init__(self, batch_size: int) -> None:
        super().__init__(None, Effort(batch_size=batch_size))
        self.sizes: list[int] = []
        self.is_at_work, self.is_let_go = threading.Event(), threading.Event()

    def infer(self, images: Images) -> Inference:
        self.sizes.append(len(images))
        self.is_at_work.set()
        assert self.is_let_go.wait(PATIENCE)
        return super().infer(images)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    for study in range(20):
        write(dataset_of(Scan(study, rows=64, columns=16)), folder / f"{study:02d}")
    return folder


def units_of(archive: Path, size: int, first: int | None = None) -> Iterator[Unit]:
    source = DirectorySource(archive)
    return Intake(source, Selection(), Catalog(), Telemetry(), Isolation(), threads=2).units(size, None, first)


def screening(archive: Path, backend: FakeBackend, reported: list[Outcome] | None = None) -> Screening:
    def tell(outcomes: Iterable[Outcome]) -> None:
        (reported if reported is not None else []).extend(outcomes)

    return Screening(preparation_of(archive), backend, 2, tell)


def preparation_of(archive: Path, pool: ImagePool | None = None) -> Preparation:
    return Preparation(DirectorySource(archive), Telemetry(), Isolation(), image_pool=pool)


def predictions(archive: Path, explainer: Explainer, telemetry: Telemetry) -> list[Prediction]:
    prepare = Preparation(DirectorySource(archive), telemetry, Isolation(), explainer)
    screen = Screening(prepare, FakeBackend(None, Effort(), with_cams=True), 2, lambda _: None)
    items = [item for outcome in screen.execute(units_of(archive, 20)) for item in outcome.outcomes]
    return [item for item in items if isinstance(item, Prediction)]


def shape_of(batch: Batch) -> str:
    kinds: dict[Any, str] = {PreparedExam: "s", Failure: "f", Unit: "|"}
    return "".join(kinds[type(item)] for item in batch.items)


@pytest.mark.parametrize(
    ("stream", "pieces"),
    [
        ("ssssssss|", ["ssss", "ssss|"]),
        ("s|sss|sssss|", ["s|", "sss|s", "ssss|"]),
        ("sfsfss|", ["sfsfss|"]),
        ("ssssff|s|", ["ssssff|", "s|"]),
        ("s|ss|s|s|", ["s|", "ss|s|", "s|"]),
        ("|||", ["|", "|", "|"]),
        ("|s||s|", ["|", "s||", "s|"]),
        ("fff|s|", ["fff|", "s|"]),
        ("", []),
    ],
)
def test_batches_are_cut_when_full_or_when_they_would_hold_back_the_first_unit_or_two(
    stream: str, pieces: list[str]
) -> None:
    assert [shape_of(batch) for batch in batches(pieces_of(stream), 4)] == pieces


def pieces_of(stream: str) -> list[list[PreparedExam | Failure | Unit]]:
    """Each unit as one piece."""
    return [[ITEMS[kind] for kind in unit] for unit in re.findall(r"[sf]*\|?", stream) if unit]


@given(st.lists(st.text("sf", min_size=1, max_size=20)), st.integers(1, 5))
def test_no_batch_without_images_follows_a_full_one(units: list[str], size: int) -> None:
    found = [shape_of(batch) for batch in batches(pieces_of("".join(f"{unit}|" for unit in units)), size)]

    for batch, following in pairwise(found):
        assert batch.count("s") < size or "s" in following or batch.endswith("|")


@given(st.text("sf|", max_size=60), st.integers(1, 5))
def test_batches_lose_nothing_and_hold_as_many_images_as_samples(stream: str, size: int) -> None:
    found = list(batches(pieces_of(stream), size))

    assert "".join(map(shape_of, found)) == stream
    for batch in found:
        samples = shape_of(batch).count("s")
        assert samples <= size
        assert (0 if batch.images is None else len(batch.images)) == samples


def test_batches_reach_across_the_borders_of_units(archive: Path) -> None:
    backend = Watched(8)
    backend.is_let_go.set()

    outcomes = list(screening(archive, backend).execute(units_of(archive, 12)))

    assert backend.sizes == [8, 8, 4]
    assert [len(outcome.outcomes) for outcome in outcomes] == [12, 8]


def test_every_unit_comes_back_whole_and_in_order(archive: Path) -> None:
    backend, reported = Watched(3), list[Outcome]()
    backend.is_let_go.set()
    units = list(units_of(archive, 7))

    outcomes = list(screening(archive, backend, reported).execute(units))

    found = [[item.exam for item in outcome.outcomes] for outcome in outcomes]
    assert found == [list(unit.exams) for unit in units]
    assert all(isinstance(item, Prediction) for outcome in outcomes for item in outcome.outcomes)
    assert [item for outcome in outcomes for item in outcome.outcomes] == reported


@pytest.mark.parametrize("native", [pair_functions(), None], ids=["compiled", "numpy"])
def test_each_stage_counts_each_examination_once_and_maps_are_made_of_those_wanted(
    native: PairFunctions | None, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (preparation, preprocess, quality):
        monkeypatch.setattr(module, "pair_functions", lambda: native)
    telemetry = Telemetry()
    scores = [item.p_metastasis for item in predictions(archive, NO_MAPS, telemetry)]
    explainer = Explainer(CamMode.POSITIVE, threshold=sorted(scores)[7])

    found = predictions(archive, explainer, telemetry)

    assert [item.explanation is not None for item in found] == [score >= explainer.threshold for score in scores]
    counts = {stage: timing["items"] for stage, timing in telemetry.report().items() if stage != "wait"}
    both_runs = dict.fromkeys(("pixels", "quality", "preprocess", "infer"), 40)
    assert counts == {**both_runs, "body": 20, "explain": 13}


def test_compiled_code_counts_each_examination_once(tmp_path: Path) -> None:
    write(dataset_of(Scan(1, rows=1024, columns=256)), tmp_path / "scan")
    telemetry = Telemetry()

    predictions(tmp_path, NO_MAPS, telemetry)

    assert {timing["items"] for stage, timing in telemetry.report().items() if stage != "wait"} == {1}


class Wrong(FakeBackend):
    """Scores that are probabilities at both ends of their range, and three that are none."""

    def infer(self, images: Images) -> Inference:
        scores = np.array([0.0, 1.0, np.nan, -0.001, 1.001] * 4, np.float32)[: len(images)]
        return Inference(np.stack([1 - scores, scores], axis=1), None)


def test_a_score_that_is_no_probability_fails_its_examination_alone(archive: Path) -> None:
    (outcome,) = screening(archive, Wrong(None, Effort(batch_size=20))).execute(units_of(archive, 20))

    failures = [item for item in outcome.outcomes if isinstance(item, Failure)]
    assert [isinstance(item, Prediction) for item in outcome.outcomes] == [True, True, False, False, False] * 4
    assert {(item.verdict.stage, item.verdict.reason) for item in failures} == {(Stage.INFER, Reason.SCORE_INVALID)}
    assert all(item.quality is not None for item in failures)


class Distant(FakeBackend):
    """The distance of an image is its number in the batch."""

    def infer(self, images: Images) -> Inference:
        return replace(super().infer(images), distances=np.arange(len(images), dtype=np.float32))


@pytest.mark.parametrize(("limit", "flagged"), [(17.0, 2), (None, 0)])
def test_examinations_beyond_the_limit_of_the_distance_are_flagged(
    archive: Path, limit: float | None, flagged: int
) -> None:
    screen = replace(screening(archive, Distant(None, Effort(batch_size=20))), distance_limit=limit)

    (outcome,) = screen.execute(units_of(archive, 20))

    predicted = [item for item in outcome.outcomes if isinstance(item, Prediction)]
    assert [item.distance for item in predicted] == list(range(20))
    is_flagged = [Flag.UNLIKE_TRAINING in item.quality.flags for item in predicted]
    assert is_flagged == [False] * (20 - flagged) + [True] * flagged
    for item in predicted:
        assert item.logit == pytest.approx(np.log(item.p_metastasis / (1 - item.p_metastasis)), abs=0.1)


def test_while_the_backend_is_at_work_the_next_batch_is_made(archive: Path) -> None:
    read, backend = list[Examination](), Watched(4)
    enough = threading.Event()

    class Reading(Preparation):
        def prepare(self, exams: Sequence[Examination]) -> list[PreparedExam | Failure]:
            read.extend(exams)
            if len(read) >= 8:
                enough.set()
            return super().prepare(exams)

    reading = Reading(DirectorySource(archive), Telemetry(), Isolation())
    slow = Screening(reading, backend, 1, lambda _outcomes: None)
    consumer = threading.Thread(target=lambda: list(slow.execute(units_of(archive, 20))))
    consumer.start()

    assert backend.is_at_work.wait(PATIENCE)
    assert enough.wait(PATIENCE)
    assert backend.sizes == [4]
    backend.is_let_go.set()
    consumer.join(PATIENCE)
    assert backend.sizes == [4] * 5


class Queueing(FakeBackend):
    """Queues batches of two, and scores none until it is let go."""

    queued_size, queued = 2, 3

    def __init__(self) -> None:
        super().__init__(None, Effort())
        self.submitted: list[tuple[Images, Future[Inference]]] = []
        self.is_full, self.is_let_go = threading.Event(), threading.Event()

    def submit(self, images: Images) -> "Future[Inference]":
        result: Future[Inference] = Future()
        self.submitted.append((images, result))
        if len(self.submitted) > self.queued:
            self.is_full.set()
        if self.is_let_go.is_set():
            self.score()
        return result

    def score(self) -> None:
        """Score everything that was submitted, the last batch first."""
        for images, result in reversed(self.submitted):
            if not result.done():
                result.set_result(self.infer(images))


def test_a_backend_that_queues_batches_gets_the_next_ones_before_it_has_scored_the_first(archive: Path) -> None:
    backend, outcomes = Queueing(), list[UnitOutcome]()
    screen = screening(archive, backend)
    units = list(units_of(archive, 20))
    consumer = threading.Thread(target=lambda: outcomes.extend(screen.execute(units)))
    consumer.start()

    assert backend.is_full.wait(PATIENCE)
    assert not outcomes
    backend.is_let_go.set()
    backend.score()
    consumer.join(PATIENCE)
    assert [len(images) for images, _ in backend.submitted] == [2] * 10
    assert [item.exam for outcome in outcomes for item in outcome.outcomes] == [exam for u in units for exam in u.exams]


@pytest.mark.parametrize("make", [lambda: Watched(2), Queueing])
def test_leaving_early_leaves_no_thread_behind(archive: Path, make: Callable[[], Watched | Queueing]) -> None:
    backend = make()
    backend.is_let_go.set()
    before = threading.active_count()

    outcomes = screening(archive, backend).execute(units_of(archive, 4))
    next(outcomes)
    outcomes.close()

    assert threading.active_count() == before


def test_the_first_unit_is_small_and_each_one_after_it_at_most_twice_as_large(archive: Path) -> None:
    assert [len(unit.exams) for unit in units_of(archive, 8, first=2)] == [2, 4, 8, 6]
    assert [len(unit.exams) for unit in units_of(archive, 3, first=16)] == [3, 3, 3, 3, 3, 3, 2]


@pytest.mark.parametrize(
    ("exams", "threads", "pieces"),
    [
        (0, 2, ["|"]),
        (1, 2, ["e|"]),
        (4, 2, ["ee", "ee|"]),
        (5, 2, ["ee", "ee", "e|"]),
        (20, 2, ["eeeeeeee", "eeeeeeee", "eeee|"]),
        (3, 4, ["e", "e", "e|"]),
        (16, 1, ["eeeeeeee", "eeeeeeee|"]),
    ],
)
def test_a_unit_is_cut_into_pieces_of_few_examinations_one_for_each_thread(
    exams: int, threads: int, pieces: list[str]
) -> None:
    found = _cut_into_pieces([Unit((EXAM,) * exams, ())], threads, 8)
    assert ["".join("|" if isinstance(item, Unit) else "e" for item in piece) for piece in found] == pieces


def test_a_bug_in_a_heat_map_fails_its_examination_alone(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, sound = list[int](), Explainer.explain

    def fail_once(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise ZeroDivisionError
        return sound(*arguments)

    monkeypatch.setattr(Explainer, "explain", fail_once)
    prepare = Preparation(DirectorySource(archive), Telemetry(), Isolation(), Explainer(CamMode.ALL, 0.5))
    screen = Screening(prepare, FakeBackend(None, Effort(), with_cams=True), 2, lambda _: None)

    (outcome,) = screen.execute(units_of(archive, 20))

    (failure,) = (item for item in outcome.outcomes if isinstance(item, Failure))
    assert failure is outcome.outcomes[2]
    assert (failure.verdict.stage, failure.verdict.reason) == (Stage.INFER, Reason.INTERNAL_ERROR)
    assert failure.quality is not None


def test_the_wait_of_the_backend_is_measured_once_for_each_batch_and_once_for_the_end(archive: Path) -> None:
    telemetry = Telemetry()
    prepare = Preparation(DirectorySource(archive), telemetry, Isolation())
    screen = Screening(prepare, FakeBackend(None, Effort(batch_size=5)), 2, lambda _: None)

    list(screen.execute(units_of(archive, 20)))

    assert {stage: telemetry.report()[stage]["items"] for stage in ("wait", "infer")} == {"wait": 5, "infer": 20}


NOTHING = np.zeros((2, 1024, 256), np.uint16)


class Lending(FakeBackend):
    """Lends memory for images, as a GPU does."""

    def __init__(self, number: int) -> None:
        super().__init__(None, Effort())
        self.image_pool: FreeList[PinnedImage] = FreeList()
        for _ in range(number):
            self.image_pool.give_back(PinnedImage(np.zeros((512, 512), np.uint16), np.zeros((2, 2), np.float32)))


def prepared(archive: Path, backend: FakeBackend, native: PairFunctions | None) -> list[tuple[object, ...]]:
    """What becomes of every examination, images and what a GPU makes them of as bytes."""
    found: list[tuple[object, ...]] = []
    with pytest.MonkeyPatch.context() as patch, Isolation() as isolation:
        for module in (preparation, preprocess, quality):
            patch.setattr(module, "pair_functions", lambda: native)
        pool = backend.image_pool if isinstance(backend, LendsImages) else None
        prepare = Preparation(DirectorySource(archive), Telemetry(), isolation, image_pool=pool).prepare
        for exam in (exam for unit in units_of(archive, 100) for exam in unit.exams):
            (item,) = prepare([exam])
            if isinstance(item, Failure):
                found.append((item.verdict, item.quality))
            elif isinstance(item.image, PinnedImage):
                found.append((item.image.counts.tobytes(), item.image.scales.tobytes(), item.quality))
                assert pool is not None
                pool.give_back(item.image)
            else:
                found.append((item.image.tobytes(), item.quality))
    return found


@pytest.mark.parametrize("make", [lambda: FakeBackend(None, Effort()), lambda: Lending(1)], ids=["arrays", "lent"])
def test_compiled_code_changes_nothing_of_what_becomes_of_an_archive(
    phantoms: Path, tmp_path: Path, make: Callable[[], FakeBackend]
) -> None:
    native = pair_functions()
    if native is None:
        pytest.skip("bsbatch was installed without a C compiler")
    archive = tmp_path / "archive"
    shutil.copytree(phantoms / "archive", archive)
    write(dataset_of(Scan(901), NOTHING), archive / "without counts")
    cut = archive / "cut off"
    write(dataset_of(Scan(902, rows=1024, columns=256)), cut)
    os.truncate(cut, cut.stat().st_size - 1)

    found = prepared(archive, make(), native)

    assert found == prepared(archive, make(), None)
    assert {type(item[0]) for item in found} == {bytes, Verdict}


def test_places_come_back_from_what_has_nothing_to_show(tmp_path: Path) -> None:
    for study in range(3):
        write(dataset_of(Scan(study), NOTHING), tmp_path / str(study))
    backend = Lending(1)  # which the second one would wait for

    found = prepared(tmp_path, backend, pair_functions())

    assert [verdict.reason for verdict, _ in found if isinstance(verdict, Verdict)] == [Reason.ALL_ZERO] * 3
