"""Compiled convolutions compared with sums in float64, for every vector width."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ctypes import CDLL
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.native.conftest import PROCESSORS, library_for
from tests.native.definition import ROUNDING, Layer, expected

from bsbatch.native.library import open_library
from bsbatch.native.winograd import Convolutions


@pytest.fixture(scope="module", params=PROCESSORS)
def native(library: Path, request: pytest.FixtureRequest) -> CDLL:
    opened = open_library(library_for(request.param, library))
    assert opened is not None
    return opened


def layers_of(widths: Sequence[int], pooled: Sequence[bool], seed: int) -> list[Layer]:
    random, depth, made = np.random.default_rng(seed), 1, list[Layer]()
    for width, is_pooled in zip(widths, pooled, strict=True):
        kernels = random.normal(0, (2 / (9 * depth)) ** 0.5, (width, depth, 3, 3)).astype(np.float32)
        made.append((kernels, random.normal(0, 0.1, width).astype(np.float32), is_pooled))
        depth = width
    return made


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.sampled_from([1, 3, 8, 32, 40, 96]), min_size=1, max_size=3),
    st.tuples(st.integers(2, 8), st.integers(2, 8)),
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.integers(0, 2**32 - 1),
)
def test_features_equal_the_definition_of_a_convolution(
    native: CDLL, widths: list[int], blocks: tuple[int, int], pooled: list[bool], seed: int
) -> None:
    layers = layers_of([8, *widths], [False, *pooled[: len(widths)]], seed)
    rows, columns = (4 * 2 ** sum(layer[2] for layer in layers) * block for block in blocks)
    image = np.random.default_rng(seed).random((rows, columns), np.float32)

    convolutions = Convolutions(native, layers, rows, columns)
    found = convolutions.features(image, convolutions.workspace())

    wanted = expected(layers, image)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= ROUNDING * max(1.0, np.abs(wanted).max())


def test_earlier_content_of_the_workspace_does_not_matter(native: CDLL) -> None:
    layers, random = layers_of([16, 32, 32], [False, True, False], 0), np.random.default_rng(1)
    convolutions, images = Convolutions(native, layers, 32, 48), random.random((2, 32, 48), np.float32)
    workspace = convolutions.workspace()

    first = convolutions.features(images[0], workspace)
    convolutions.features(images[1] * 1000, workspace)
    workspace[:] = np.nan
    again = convolutions.features(images[0], workspace)

    np.testing.assert_array_equal(again, first)


def test_threads_share_the_kernels(native: CDLL) -> None:
    layers, random = layers_of([16, 64, 64], [False, True, False], 0), np.random.default_rng(1)
    convolutions, images = Convolutions(native, layers, 64, 64), random.random((40, 64, 64), np.float32)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda image: convolutions.features(image, convolutions.workspace()), images))

    workspace = convolutions.workspace()
    for image, features in zip(images, found, strict=True):
        np.testing.assert_array_equal(features, convolutions.features(image, workspace))


def test_an_image_that_is_not_contiguous_is_copied(native: CDLL) -> None:
    layers, image = layers_of([8, 8], [False, False], 0), np.random.default_rng(1).random((16, 32), np.float32)
    convolutions = Convolutions(native, layers, 16, 32)

    mirrored = convolutions.features(image[:, ::-1], convolutions.workspace())

    np.testing.assert_array_equal(mirrored, convolutions.features(image[:, ::-1].copy(), convolutions.workspace()))


@pytest.mark.parametrize(
    ("shape", "pooled"), [((30, 32), [False, False]), ((32, 6), [False, False]), ((12, 16), [False, True, False])]
)
def test_sizes_that_are_no_multiple_of_four_are_refused(
    native: CDLL, shape: tuple[int, int], pooled: list[bool]
) -> None:
    with pytest.raises(ValueError, match="no convolutions of these sizes"):
        Convolutions(native, layers_of([8] * len(pooled), pooled, 0), *shape)
