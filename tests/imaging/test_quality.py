from typing import Any

import numpy as np
import pytest
import xxhash
from numpy.typing import NDArray
from tests.dicom.objects import header, ref, scan

from bsbatch.dicom.pairing import examine
from bsbatch.imaging.quality import Flag, _pixel_hash, assess
from bsbatch.records import EvidenceKind, Examination, FrameView, Quality, ScanObject, View
from bsbatch.tracers.record import Tracer
from bsbatch.view_pixels import ViewPixels

SHAPE = (1024, 256)


def body(seed: int = 1) -> NDArray[np.uint16]:
    """A view in the shape of a body, heavier on one side, with empty rows at both ends; about half a million counts."""
    counts = np.zeros(SHAPE, np.uint16)
    counts[50:900, 60:200] = np.random.default_rng(seed).poisson(4, (850, 140))
    counts[200:800, 70:100] += 3
    return counts


ANTERIOR, POSTERIOR = body(1), body(2)[:, ::-1]


def pixels(stored: NDArray[Any]) -> ViewPixels:
    return ViewPixels(stored)


def quality(
    anterior: NDArray[Any] = ANTERIOR, posterior: NDArray[Any] = POSTERIOR, exam: Examination | None = None
) -> Quality:
    return assess(exam or examine((scan("AP", "both"),)), pixels(anterior), pixels(posterior))


def one_object(**changes: Any) -> Examination:
    return examine((scan("AP", "both", **changes),))


def two_objects(anterior: dict[str, Any], posterior: dict[str, Any]) -> Examination:
    return examine((scan("A", "a", **anterior), scan("P", "p", **posterior)))


def alter(row: int, column: int, value: int) -> NDArray[np.uint16]:
    counts = ANTERIOR.copy()
    counts[row, column] = value
    return counts


def with_pixels_at(value: int, number: int) -> NDArray[np.uint16]:
    counts = ANTERIOR.copy()
    counts[300, 60 : 60 + number] = value
    return counts


def test_a_sound_examination_raises_no_flag() -> None:
    found = quality()

    assert found.flags == ()
    assert (found.counts_anterior, found.counts_posterior) == (ANTERIOR.sum(), POSTERIOR.sum())
    assert found.saturated_pixels == 0
    assert 1 < found.hotspot_ratio_anterior < 4


SUM = int(ANTERIOR.sum()) + int(POSTERIOR.sum())


@pytest.mark.parametrize(
    ("exam", "is_raised"),
    [
        (one_object(counts_accumulated=SUM), False),
        (one_object(counts_accumulated=SUM + 1), True),
        (one_object(counts_accumulated=None), False),
        (one_object(counts_accumulated=0), False),
        (one_object(counts_accumulated=SUM + 1, frames=4), False),
        (
            two_objects({"counts_accumulated": int(ANTERIOR.sum())}, {"counts_accumulated": int(POSTERIOR.sum())}),
            False,
        ),
        (two_objects({"counts_accumulated": int(ANTERIOR.sum())}, {"counts_accumulated": 5}), True),
        (two_objects({"counts_accumulated": 5}, {"counts_accumulated": None}), False),
    ],
    ids=["equal", "off by one", "absent", "zero", "of more frames", "two objects", "one of two off", "one absent"],
)
def test_counts_are_compared_with_counts_accumulated(exam: Examination, is_raised: bool) -> None:
    assert (Flag.COUNTS_MISMATCH in quality(exam=exam).flags) is is_raised


@pytest.mark.parametrize(("scale", "is_raised"), [(1, False), (0, True)])
def test_a_view_of_few_counts_is_flagged(scale: int, is_raised: bool) -> None:
    few = np.zeros(SHAPE, np.uint32)
    few[300, 100] = 100_000 - 1 + scale

    assert (Flag.COUNTS_TOO_LOW in quality(posterior=few).flags) is is_raised


def test_a_pixel_below_zero_is_flagged() -> None:
    below = ANTERIOR.astype(np.int16)
    below[400, 100] = -1

    assert quality(anterior=below).flags == (Flag.NEGATIVE_COUNTS,)


@pytest.mark.parametrize(
    ("exam", "is_raised"),
    [
        (one_object(is_lossy=True), True),
        (two_objects({}, {"is_lossy": True}), True),
        (two_objects({}, {}), False),
    ],
)
def test_lossy_compression_of_either_object_is_flagged(exam: Examination, is_raised: bool) -> None:
    assert (Flag.LOSSY in quality(exam=exam).flags) is is_raised


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"bits_allocated": 8, "bits_stored": 8}, Flag.EIGHT_BIT_ORIGIN),
        ({"bits_stored": 8}, Flag.EIGHT_BIT_ORIGIN),
        ({"bits_stored": 6}, Flag.EIGHT_BIT_ORIGIN),
        ({"has_modality_lut": True}, Flag.MODALITY_LUT),
        ({"photometric": "MONOCHROME1"}, Flag.MONOCHROME1),
    ],
    ids=str,
)
def test_stored_values_of_either_object_are_flagged(changes: dict[str, Any], flag: Flag) -> None:
    assert flag in quality(exam=one_object(**changes)).flags
    assert flag in quality(exam=two_objects({}, changes)).flags
    assert flag not in quality(exam=two_objects({}, {})).flags


def test_a_maximum_of_255_says_nothing_about_the_stored_bits() -> None:
    assert Flag.EIGHT_BIT_ORIGIN not in quality(anterior=alter(300, 100, 255)).flags


@pytest.mark.parametrize("padded", [0, 1])
def test_padding_of_either_view_is_flagged(padded: int) -> None:
    anterior, posterior = (ViewPixels(body(), has_padding=side == padded) for side in (0, 1))

    assert Flag.PADDING_REMOVED in assess(one_object(), anterior, posterior).flags


def test_a_hot_spot_that_sets_the_scale_is_flagged() -> None:
    found = quality(anterior=alter(300, 100, 500))

    assert Flag.HOTSPOT_DOMINATES in found.flags
    assert found.hotspot_ratio_anterior > 4 > found.hotspot_ratio_posterior


def test_a_view_without_counts_has_no_hot_spot() -> None:
    assert quality(anterior=np.zeros(SHAPE, np.uint16)).hotspot_ratio_anterior == 0


@pytest.mark.parametrize(("number", "is_raised"), [(4, False), (5, True)])
@pytest.mark.parametrize(
    ("largest", "changes"),
    [
        (65535, {}),
        (4095, {"bits_stored": 12}),
        (32767, {"is_signed": True}),
        (255, {"bits_stored": 8, "bits_allocated": 8}),
    ],
)
def test_more_than_four_pixels_at_the_largest_value_are_flagged(
    number: int, is_raised: bool, largest: int, changes: dict[str, Any]
) -> None:
    found = quality(anterior=with_pixels_at(largest, number), exam=one_object(**changes))

    assert found.saturated_pixels == number
    assert (Flag.SATURATED in found.flags) is is_raised


@pytest.mark.parametrize("kind", ["<u2", "<i4"])
@pytest.mark.parametrize("is_posterior_first", [True, False])
def test_each_view_is_measured_by_the_bits_of_its_own_object(is_posterior_first: bool, kind: str) -> None:
    scans = (scan("A", "a", bits_stored=12), scan("P", "p", bits_stored=16))
    exam = examine(scans[::-1] if is_posterior_first else scans)

    found = quality(with_pixels_at(4095, 7).astype(kind), with_pixels_at(5000, 9).astype(kind), exam)

    assert found.saturated_pixels == 7


def test_counts_in_every_row_are_no_sign_of_a_truncated_body() -> None:
    faint = np.random.default_rng(3).poisson(0.05, SHAPE).astype(np.uint16)

    assert quality(ANTERIOR + faint, POSTERIOR + faint).flags == ()


@pytest.mark.parametrize(("share", "is_raised"), [(0.3, True), (0.4, False)])
def test_a_view_of_less_than_a_third_of_the_counts_of_the_other_is_incomplete(share: float, is_raised: bool) -> None:
    fewer = np.random.default_rng(3).binomial(POSTERIOR, share).astype(np.uint16)

    assert (Flag.VIEW_INCOMPLETE in quality(posterior=fewer).flags) is is_raised


def test_a_row_without_counts_is_flagged() -> None:
    dropped = ANTERIOR.copy()
    dropped[500] = 0

    assert quality(anterior=dropped).flags == (Flag.ROWS_MISSING,)


def test_a_posterior_view_seen_from_behind_has_a_positive_laterality() -> None:
    found = quality()

    assert found.laterality_correlation > 0
    assert Flag.LATERALITY_SUSPECT not in found.flags


def test_a_posterior_view_that_is_stored_mirrored_has_a_negative_laterality() -> None:
    mirrored, sound = quality(posterior=POSTERIOR[:, ::-1]), quality()

    assert mirrored.flags == (Flag.LATERALITY_SUSPECT,)
    assert mirrored.laterality_correlation == pytest.approx(-sound.laterality_correlation, abs=1e-3)


@pytest.mark.parametrize("posterior", [np.zeros(SHAPE, np.uint16), np.ones((512, 256), np.uint16)])
def test_views_that_cannot_be_compared_have_no_laterality(posterior: NDArray[np.uint16]) -> None:
    found = quality(posterior=posterior)

    assert found.laterality_correlation == 0
    assert Flag.LATERALITY_SUSPECT not in found.flags


@pytest.mark.parametrize("kind", EvidenceKind)
def test_an_assumed_order_is_flagged(kind: EvidenceKind) -> None:
    frames = (FrameView(1, View.ANTERIOR, kind), FrameView(2, View.POSTERIOR, kind))
    exam = examine((ScanObject(ref(), header(), frames),))

    assert (Flag.VIEW_ASSUMED in quality(exam=exam).flags) is (kind is EvidenceKind.ASSUMED_ORDER)


@pytest.mark.parametrize(
    ("tracer", "flag"), [(Tracer(is_other=True), Flag.OTHER_TRACER), (Tracer(is_early=True), Flag.EARLY_PHASE)]
)
def test_the_tracer_of_either_object_is_flagged(tracer: Tracer, flag: Flag) -> None:
    front, back = two_objects({}, {}).scans

    assert flag in quality(exam=examine((front, back._replace(tracer=tracer)))).flags
    assert flag not in quality(exam=examine((front, back))).flags


@pytest.mark.parametrize("kind", ["<u2", ">u2", "<i2", ">i2", "<u4", "<i4", "u1"])
def test_a_copy_in_another_encoding_has_the_same_pixel_hash(kind: str) -> None:
    assert quality(ANTERIOR.astype(kind), POSTERIOR.astype(kind)).pixel_xxh3 == quality().pixel_xxh3


def test_the_pixel_hash_is_that_of_shape_type_and_values() -> None:
    large = POSTERIOR.astype("<i4") + 70_000
    content = b"(1024, 256)<u2" + ANTERIOR.astype("<u2").tobytes() + b"(1024, 256)<i4" + large.tobytes()

    assert quality(ANTERIOR.astype(">u2"), large).pixel_xxh3 == xxhash.xxh3_128(content).hexdigest()


def test_other_pixels_have_another_hash() -> None:
    reshaped = ANTERIOR.reshape(2048, 128), POSTERIOR.reshape(2048, 128)
    hashes = [
        quality().pixel_xxh3,
        quality(anterior=alter(300, 100, 1000)).pixel_xxh3,
        quality(POSTERIOR, ANTERIOR).pixel_xxh3,
        quality(*reshaped).pixel_xxh3,
    ]

    assert len(set(hashes)) == len(hashes)
    assert all(len(text) == 32 for text in hashes)


def test_counts_beyond_16_bits_have_another_hash() -> None:
    beyond = ANTERIOR.astype("<u4") + 0x10000
    assert quality(beyond, POSTERIOR).pixel_xxh3 != quality().pixel_xxh3
    assert quality(beyond.astype("<i4"), POSTERIOR).pixel_xxh3 == quality(beyond, POSTERIOR).pixel_xxh3


def test_the_hash_does_not_depend_on_rescaling() -> None:
    exam = examine((scan("AP", "both"),))
    doubled = [ViewPixels(stored, slope=2.0) for stored in (ANTERIOR, POSTERIOR)]

    assert assess(exam, doubled[0], doubled[1]).pixel_xxh3 == quality().pixel_xxh3


def by_numpy(counts: NDArray[np.float32]) -> float:
    positive = counts[counts > 0]
    return float(positive.max() / np.percentile(positive, 99)) if positive.size else 0.0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape", [(1024, 256), (512, 128), (64, 16), (5, 3), (1, 1)])
def test_the_hotspot_ratio_equals_that_of_numpy(shape: tuple[int, int], seed: int) -> None:
    random = np.random.default_rng(seed)
    images = [random.poisson(3, shape), random.normal(0, 9, shape), random.exponential(4, shape)]
    images += [
        random.integers(0, 60_000, shape),
        np.full(shape, 7),
        random.exponential(9, shape) * (random.random(shape) < 0.01),
    ]

    for image in images:
        found = assess(one_object(), ViewPixels(image), ViewPixels(image))
        assert found.hotspot_ratio_anterior == by_numpy(image.astype(np.float32))


@pytest.mark.parametrize(("kind", "slope"), [("<i4", 1.0), ("<u2", 1e-8), ("<u2", 3e6)])
def test_laterality_depends_neither_on_the_type_nor_on_the_unit_of_the_counts(kind: str, slope: float) -> None:
    front, back = (ViewPixels(view.astype(kind), slope=slope) for view in (ANTERIOR, POSTERIOR))

    found = assess(one_object(), front, back).laterality_correlation

    assert found == pytest.approx(quality().laterality_correlation, abs=0 if slope == 1.0 else 1e-3)


def test_laterality_is_the_difference_of_two_correlations() -> None:
    def roots(image: NDArray[np.uint16]) -> NDArray[np.float64]:
        rows, columns = image.shape
        means = image.reshape(rows // 2, 2, columns // 2, 2).mean(axis=(1, 3))
        return np.asarray(np.sqrt(means).ravel(), np.float64)

    front, back, mirrored = roots(ANTERIOR), roots(POSTERIOR), roots(POSTERIOR[:, ::-1])
    expected = np.corrcoef(front, mirrored)[0, 1] - np.corrcoef(front, back)[0, 1]

    assert quality().laterality_correlation == pytest.approx(expected, abs=1e-5)  # the means are of single precision


def test_the_hash_tells_negative_counts_from_large_ones() -> None:
    negative, large = (ViewPixels(np.full((2, 2), value, np.int32)) for value in (-1, 65535))

    assert _pixel_hash(negative, negative) != _pixel_hash(large, large)


@pytest.mark.parametrize(("value", "kind"), [(0, "<u2"), (65535, "<u2"), (65536, "<i4"), (-1, "<i4")])
def test_the_hash_is_of_16_bits_as_far_as_they_hold_the_values(value: int, kind: str) -> None:
    view = ViewPixels(np.array([[7, value]], np.int32))
    content = (b"(1, 2)" + kind.encode() + np.array([7, value], kind).tobytes()) * 2
    assert _pixel_hash(view, view) == xxhash.xxh3_128(content).hexdigest()
