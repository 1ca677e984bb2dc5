import hashlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bsbatch.errors import ItemError
from bsbatch.imaging.preprocess import VERSION, compact, compose
from bsbatch.reasons import EXPLANATIONS, Reason

GOLDEN = "84fa755db2504fcab365335c038f684a4869d188004be94b04fda82284966567"
"""SHA-256 of version 1's float32 bytes for the two views below; a change of it is a change of `VERSION`."""


def view(rows: int, columns: int, factor: int) -> NDArray[np.float32]:
    """A deterministic image of integers."""
    row, column = np.mgrid[:rows, :columns]
    return np.asarray((row * 31 + column * factor + (row * column) % 101) % 997, np.float32)


def by_hand(counts: NDArray[np.float32]) -> NDArray[np.float32]:
    """The common matrix by the formula of the paper: mean of two rows, then minimum and maximum."""
    resized = (counts[0::2] + counts[1::2]) / np.float32(2)
    low, high = resized.min(), resized.max()
    return np.asarray((resized - low) / (high - low), np.float32)


def test_the_image_is_the_same_bit_for_bit() -> None:
    image = compose(view(1024, 256, 17), view(1024, 256, 23))

    assert VERSION == 1
    assert hashlib.sha256(image.astype("<f4").tobytes()).hexdigest() == GOLDEN


def test_the_common_matrix_becomes_the_mean_of_two_rows() -> None:
    anterior, posterior = view(1024, 256, 17), view(1024, 256, 23)

    image = compose(anterior, posterior)

    np.testing.assert_array_equal(image[:, :256], by_hand(anterior))
    np.testing.assert_array_equal(image[:, 256:], by_hand(posterior))


def test_anterior_is_left_and_posterior_right() -> None:
    left, right = np.zeros((1024, 256), np.float32), np.zeros((1024, 256), np.float32)
    left[100:120, 10:20] = 1
    right[900:920, 200:210] = 1

    image = compose(left, right)

    assert (image[55, 15], image[455, 256 + 205]) == (1, 1)
    assert (image[455, 205], image[55, 256 + 15]) == (0, 0)


@pytest.mark.parametrize(
    "shape",
    [(1024, 256), (512, 256), (1024, 512), (2048, 512), (256, 64), (16, 4), (700, 200), (1200, 400), (300, 300)],
)
def test_every_matrix_gives_the_same_shape_and_range(shape: tuple[int, int]) -> None:
    image = compose(view(*shape, 17), view(*shape, 23))

    assert image.shape == (512, 512)
    assert image.dtype == np.float32
    assert image.flags.c_contiguous
    for half in (image[:, :256], image[:, 256:]):
        assert (half.min(), half.max()) == (0, 1)


def test_a_view_of_the_models_input_size_is_only_scaled() -> None:
    counts = view(512, 256, 17)

    np.testing.assert_array_equal(compose(counts, counts)[:, :256], counts / counts.max())


def test_a_view_of_many_columns_alone_is_averaged_over_areas() -> None:
    counts = view(512, 1024, 17)
    means = counts.reshape(512, 256, 4).mean(axis=2)

    found = compose(counts, counts)[:, :256]

    np.testing.assert_allclose(found, (means - means.min()) / np.ptp(means), atol=1e-6)


@pytest.mark.parametrize("shape", [(1024, 256), (512, 256)])
@pytest.mark.parametrize("kind", ["<u2", "<f4"])
def test_the_image_for_a_gpu_is_the_same_in_half_precision(shape: tuple[int, int], kind: str) -> None:
    front, back = (view(*shape, factor).astype(kind) + 5 for factor in (17, 23))
    counts, scales = np.empty((512, 512), np.uint16), np.empty((2, 2), np.float32)

    compact(front, back, counts, scales)

    halves = [
        (half - low) / width if width else half.view(np.float16)
        for half, (low, width) in zip(np.hsplit(counts, 2), scales, strict=True)
    ]
    np.testing.assert_allclose(np.hstack(halves), compose(front, back), atol=5e-4)


def test_the_views_may_differ_in_size() -> None:
    image = compose(view(1024, 256, 17), view(512, 128, 23))

    np.testing.assert_array_equal(image[:, :256], by_hand(view(1024, 256, 17)))


def test_each_view_is_scaled_by_itself() -> None:
    counts = view(1024, 256, 17)

    np.testing.assert_array_equal(compose(counts, counts)[:, :256], compose(counts, counts * 16)[:, 256:])


def test_negative_values_are_scaled_like_any_other() -> None:
    counts = view(1024, 256, 17)

    np.testing.assert_array_equal(compose(counts - 512, counts)[:, :256], compose(counts, counts)[:, :256])


def test_the_views_are_not_modified() -> None:
    counts = view(1024, 256, 17)

    compose(counts, counts)

    np.testing.assert_array_equal(counts, view(1024, 256, 17))


@pytest.mark.parametrize("is_anterior", [True, False])
@pytest.mark.parametrize(
    ("value", "reason"),
    [(0, Reason.ALL_ZERO), (7, Reason.CONSTANT_IMAGE), (-3, Reason.CONSTANT_IMAGE)],
)
def test_a_constant_view_fails(value: float, reason: Reason, is_anterior: bool) -> None:
    flat, sound = np.full((1024, 256), value, np.float32), view(1024, 256, 17)

    with pytest.raises(ItemError) as caught:
        compose(*((flat, sound) if is_anterior else (sound, flat)))

    assert (caught.value.reason, caught.value.message) == (reason, EXPLANATIONS[reason])


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 1100), st.integers(2, 600), st.integers(0, 2**32 - 1))
def test_any_counts_are_scaled_to_zero_to_one(rows: int, columns: int, seed: int) -> None:
    counts = np.random.default_rng(seed).poisson(5, (rows, columns)).astype(np.float32)
    counts[0, 0] = 2000

    image = compose(counts, counts)

    assert np.isfinite(image).all()
    assert (image.min(), image.max()) == (0, 1)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1.0, 0.37, 1e4]), st.sampled_from([0.0, -5.5]))
def test_the_common_matrix_is_resized_as_by_opencv(seed: int, slope: float, intercept: float) -> None:
    counts = np.random.default_rng(seed).poisson(5, (1024, 256)).astype(np.float32)
    counts = counts * np.float32(slope) + np.float32(intercept)

    resized = cv2.resize(counts, (256, 512), interpolation=cv2.INTER_AREA)

    expected = (resized - resized.min()) / (resized.max() - resized.min())
    np.testing.assert_array_equal(compose(counts, counts)[:, 256:], expected)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["u1", "i1", "<u2", ">u2", "<i2", "<i4"]), st.booleans())
def test_every_type_of_number_gives_the_same_bits(seed: int, kind: str, is_large: bool) -> None:
    counts = np.random.default_rng(seed).poisson(5, (1024, 256)).astype(kind)
    counts[500, 100] = np.iinfo(kind).max if is_large else 100

    image = compose(counts, counts.astype(np.float32))

    np.testing.assert_array_equal(image[:, :256], image[:, 256:])
