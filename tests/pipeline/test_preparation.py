"""An examination with all that a run may want of it: halves, views for overlays, the body, seconds of the stages."""

import ctypes
import struct
from pathlib import Path

import numpy as np
import pytest
from tests.archives import Scan, dataset_of, pixels_of, write
from tests.dicom.objects import scan

from bsbatch.config import CamMode, Selection
from bsbatch.dicom.pairing import examine
from bsbatch.host.threads import FreeList
from bsbatch.host.workers import Isolation
from bsbatch.imaging import preprocess, quality
from bsbatch.imaging.body import body_of
from bsbatch.imaging.gradcam import NO_MAPS, Explainer
from bsbatch.imaging.quality import assess, limits_of
from bsbatch.native.view_pairs import Measured, PairFunctions, PairRequest, PairStatistics, pair_functions
from bsbatch.pipeline import preparation
from bsbatch.pipeline.intake import Intake
from bsbatch.pipeline.preparation import Preparation
from bsbatch.protocols import ImagePool
from bsbatch.reasons import Reason, Stage, Verdict
from bsbatch.records import Examination, Failure, PinnedImage, PreparedExam
from bsbatch.sources.directory import DirectorySource
from bsbatch.store.catalog import Catalog
from bsbatch.telemetry import Telemetry

MAPS = Explainer(CamMode.ALL, threshold=0.5, keeps_views=True)


@pytest.fixture(params=["compiled", "numpy"], autouse=True)
def native(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (preparation, preprocess, quality):
        monkeypatch.setattr(module, "pair_functions", pair_functions if request.param == "compiled" else lambda: None)


def exam_in(folder: Path) -> Examination:
    source = DirectorySource(folder)
    (unit,) = Intake(source, Selection(), Catalog(), Telemetry(), Isolation(), threads=1).units(8, None)
    return unit.exams[0]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    write(dataset_of(Scan(1, rows=1024, columns=256)), tmp_path / "archive/both")
    return tmp_path / "archive"


def prepare(
    archive: Path, explainer: Explainer = NO_MAPS, pool: ImagePool | None = None, *, in_halves: bool = False
) -> PreparedExam:
    made = Preparation(DirectorySource(archive), Telemetry(), Isolation(), explainer, pool, in_halves)
    (prepared,) = made.prepare([exam_in(archive)])
    assert isinstance(prepared, PreparedExam)
    return prepared


def lent(number: int = 1) -> FreeList[PinnedImage]:
    pool: FreeList[PinnedImage] = FreeList()
    for _ in range(number):
        pool.give_back(PinnedImage(np.zeros((512, 512), np.uint16), np.zeros((2, 2), np.float32)))
    return pool


def test_images_in_halves_are_the_same_rounded_and_lent_ones_stay_as_they_are(archive: Path) -> None:
    single, half = prepare(archive).image, prepare(archive, in_halves=True).image
    assert isinstance(single, np.ndarray)
    assert isinstance(half, np.ndarray)
    assert (single.dtype.name, half.dtype.name) == ("float32", "float16")
    np.testing.assert_array_equal(half, single.astype(np.float16))
    assert isinstance(prepare(archive, pool=lent(), in_halves=True).image, PinnedImage)


def test_views_are_kept_for_overlays_alone(archive: Path) -> None:
    assert prepare(archive).views is None
    views = prepare(archive, MAPS).views
    assert views is not None
    np.testing.assert_array_equal([view.stored for view in views], pixels_of(Scan(1, rows=1024, columns=256)))


def test_the_body_is_that_of_the_image_also_where_the_backend_lends_memory(archive: Path) -> None:
    plain = prepare(archive)
    assert isinstance(plain.image, np.ndarray)
    assert plain.body is None
    expected = body_of(plain.image.astype(np.float32))
    for found in (prepare(archive, MAPS), prepare(archive, MAPS, lent())):
        assert found.body is not None
        np.testing.assert_array_equal(found.body.cells, expected.cells)
        assert (found.body.anterior, found.body.posterior) == (expected.anterior, expected.posterior)


def test_two_objects_of_a_view_each_give_the_image_of_one_object_with_both(archive: Path) -> None:
    front, back = pixels_of(Scan(1, rows=1024, columns=256))
    apart = archive.parent / "apart"
    write(dataset_of(Scan(1, "P", 3, rows=1024, columns=256), back[np.newaxis]), apart / "a")
    write(dataset_of(Scan(1, "A", 2, rows=1024, columns=256), front[np.newaxis]), apart / "b")

    found, expected = prepare(apart, MAPS), prepare(archive, MAPS)

    assert isinstance(found.image, np.ndarray)
    assert isinstance(expected.image, np.ndarray)
    assert found.image.tobytes() == expected.image.tobytes()
    assert found.quality == expected.quality


def test_an_examination_that_lacks_a_view_or_has_a_defect_is_not_read(archive: Path) -> None:
    exam = exam_in(archive)
    (archive / "both").unlink()
    prepare = Preparation(DirectorySource(archive), Telemetry(), Isolation()).prepare
    single = Verdict.of(Stage.PAIRING, Reason.SINGLE_VIEW_ONLY)
    lossy = Verdict.of(Stage.HEADER, Reason.TOO_LARGE)
    for made, verdict in (
        (exam._replace(anterior=None), single),
        (exam._replace(posterior=None), single),
        (exam._replace(posterior=None, defect=lossy), lossy),
        (exam._replace(defect=lossy), lossy),
        (exam, Verdict.of(Stage.PIXELS, Reason.READ_ERROR)),
    ):
        (found,) = prepare([made])
        assert isinstance(found, Failure)
        assert (found.exam, found.verdict, found.quality) == (made, verdict, None)


@pytest.fixture
def several(tmp_path: Path) -> tuple[Preparation, list[Examination]]:
    for study in range(4):
        write(dataset_of(Scan(study, rows=1024, columns=256)), tmp_path / f"several/{study}")
    source = DirectorySource(tmp_path / "several")
    (unit,) = Intake(source, Selection(), Catalog(), Telemetry(), Isolation(), threads=1).units(8, None)
    return Preparation(source, Telemetry(), Isolation(), image_pool=lent(4)), list(unit.exams)


def test_of_examinations_that_are_prepared_together_one_that_cannot_be_read_costs_no_other(
    several: tuple[Preparation, list[Examination]], tmp_path: Path
) -> None:
    made, exams = several
    exams.insert(1, exams[0]._replace(anterior=None))
    (tmp_path / "several/1").unlink()
    (tmp_path / "several/3").write_bytes((tmp_path / "several/3").read_bytes()[:-1])

    found = made.prepare(exams)

    assert [item.exam for item in found] == exams
    reasons = [str(item.verdict.reason) if isinstance(item, Failure) else None for item in found]
    assert reasons == [None, "single_view_only", "read_error", None, "truncated_pixel_data"]
    images = [item.image for item in found if isinstance(item, PreparedExam)]
    free = [made.image_pool.take() for _ in range(2)] if made.image_pool is not None else []
    assert len({id(image) for image in (*images, *free)}) == 4


def test_a_bug_in_the_call_fails_its_examinations_and_gives_memory_back(
    several: tuple[Preparation, list[Examination]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PairFunctions, "load", lambda *_arguments: 1 // 0)
    monkeypatch.setattr(preparation, "assess", lambda *_arguments: 1 // 0)
    made, exams = several

    found = made.prepare(exams)

    assert [item.verdict.reason for item in found if isinstance(item, Failure)] == [Reason.INTERNAL_ERROR] * 4
    assert made.image_pool is not None
    assert len({id(made.image_pool.take()) for _ in range(4)}) == 4


def test_a_bug_in_one_request_fails_its_examination_alone_and_gives_memory_back(
    several: tuple[Preparation, list[Examination]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, exams = several
    monkeypatch.setattr(preparation, "limits_of", lambda exam: 1 // 0 if exam is exams[1] else limits_of(exam))
    monkeypatch.setattr(
        preparation, "assess", lambda exam, *views: 1 // 0 if exam is exams[1] else assess(exam, *views)
    )

    found = made.prepare(exams)

    assert [isinstance(item, Failure) for item in found] == [False, True, False, False]
    assert made.image_pool is not None
    assert isinstance(made.image_pool.take(), PinnedImage)


def test_memory_for_a_request_that_is_refused_goes_back_before_it_is_needed_again(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PairRequest, "of", lambda *_arguments: None)

    assert isinstance(prepare(archive, pool=lent()).image, PinnedImage)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize(("value", "reason"), [(0, Reason.ALL_ZERO), (7, Reason.CONSTANT_IMAGE)])
@pytest.mark.parametrize("is_lent", [True, False])
def test_a_view_that_cannot_be_scaled_is_a_failure_with_its_quality_and_gives_memory_back(
    side: int, value: int, reason: Reason, is_lent: bool, tmp_path: Path
) -> None:
    scan = Scan(1, rows=1024, columns=256)
    pixels = pixels_of(scan)
    pixels[side] = value
    write(dataset_of(scan, pixels), tmp_path / "flat")
    pool = lent() if is_lent else None

    made = Preparation(DirectorySource(tmp_path), Telemetry(), Isolation(), image_pool=pool)
    (found,) = made.prepare([exam_in(tmp_path)])

    assert isinstance(found, Failure)
    assert (found.verdict.stage, found.verdict.reason) == (Stage.PREPROCESS, reason)
    assert found.quality is not None
    assert (found.quality.counts_anterior, found.quality.counts_posterior)[side] == value * 1024 * 256
    assert pool is None or pool.take().counts.shape == (512, 512)


def test_each_stage_of_an_examination_is_counted_once(archive: Path) -> None:
    telemetry = Telemetry()
    Preparation(DirectorySource(archive), telemetry, Isolation(), MAPS).prepare([exam_in(archive)])
    found = telemetry.report()
    assert {stage: timing["items"] for stage, timing in found.items()} == dict.fromkeys(
        ("pixels", "quality", "preprocess", "body"), 1
    )


@pytest.mark.parametrize(
    ("highs", "keeps"), [((4095, 4095), True), ((4096, 4095), False), ((4095, 4096), False), ((0, 0), True)]
)
def test_compiled_code_keeps_views_up_to_the_largest_sample(highs: tuple[int, int], keeps: bool) -> None:
    packed = b"".join(struct.pack("=4Qd4I", *(0,) * 6, high, 0, 0) for high in highs)
    statistics = PairStatistics.from_buffer_copy(packed.ljust(ctypes.sizeof(PairStatistics), b"\0"))
    exam = examine((scan("AP", "both", bits_stored=12, high_bit=11),))
    assert exam.anterior is not None
    assert exam.posterior is not None
    begun = preparation._Begun(exam, exam.anterior, exam.posterior)
    assert preparation._is_plain(Measured(statistics.views, 0, (0, 0), (0, 0)), begun) is keeps
