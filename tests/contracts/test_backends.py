from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnxruntime import InferenceSession

from bsbatch.backends.registry import load_backend
from bsbatch.backends.requirements import REQUIREMENTS
from bsbatch.config import Effort
from bsbatch.errors import BackendError, ModelError
from bsbatch.imaging.preprocess import VERSION, compose
from bsbatch.models.directory import GRAPH, Model
from bsbatch.protocols import Backend

INSTALLED = [name for name, needed in REQUIREMENTS.items() if needed.problem is None]
NEED_MODEL = [name for name in INSTALLED if name != "fake"]
EFFORT = Effort(threads=1, batch_size=2)
TOLERANCE = 1e-5
MAP_TOLERANCE = 1e-3
"""Of the winograd backend, as a share of the largest value; random weights hardly tell images apart."""

Make = Callable[[], Backend]


@pytest.fixture
def model(twin: Path) -> Model:
    return Model.load(twin, VERSION)


@pytest.fixture(params=INSTALLED)
def make(request: pytest.FixtureRequest, model: Model) -> Make:
    """A function that makes a backend of each kind, not yet entered."""
    backend = load_backend(request.param)
    return lambda: backend(model, EFFORT)


def images(number: int, seed: int = 0) -> NDArray[np.float32]:
    """``(N, 1, 512, 512)`` images as `bsbatch.imaging.preprocess` makes them."""
    random = np.random.default_rng(seed)
    views = [random.poisson(2 + n, (2, 1024, 256)).astype(np.float32) for n in range(number)]
    return np.stack([compose(anterior, posterior) for anterior, posterior in views])[:, np.newaxis]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_every_image_gets_a_pair_of_probabilities(make: Make, number: int) -> None:
    with make() as backend:
        found = backend.infer(images(number)).probabilities

    assert found.shape == (number, 2)
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=TOLERANCE)


def test_an_image_has_the_same_score_alone_and_in_a_batch(make: Make) -> None:
    batch = images(3)

    with make() as backend:
        together = backend.infer(batch).probabilities
        alone = np.concatenate([backend.infer(batch[n : n + 1]).probabilities for n in range(3)])
        turned = backend.infer(batch[::-1]).probabilities

    np.testing.assert_allclose(alone, together, atol=TOLERANCE)
    np.testing.assert_allclose(turned[::-1], together, atol=TOLERANCE)


def test_the_same_batch_has_the_same_score_twice(make: Make) -> None:
    with make() as backend:
        first, second = backend.infer(images(2)), backend.infer(images(2))

    np.testing.assert_array_equal(first.probabilities, second.probabilities)


def test_other_images_have_other_scores(make: Make) -> None:
    with make() as backend:
        found = backend.infer(np.concatenate([np.zeros((1, 1, 512, 512), np.float32), images(1)])).probabilities

    assert found[0, 1] != found[1, 1]


def test_results_are_not_reused_by_the_next_call(make: Make) -> None:
    with make() as backend:
        first = backend.infer(images(2)).probabilities
        kept = first.copy()
        second = backend.infer(images(2, seed=9)).probabilities

    np.testing.assert_array_equal(first, kept)
    assert not np.shares_memory(first, second)


def test_images_are_left_as_they_were(make: Make) -> None:
    batch = images(2)

    with make() as backend:
        backend.infer(batch)

    np.testing.assert_array_equal(batch, images(2))


def test_a_backend_can_be_entered_again_after_it_was_left(make: Make) -> None:
    backend = make()

    with backend as entered:
        first = entered.infer(images(1)).probabilities
    with backend as entered:
        second = entered.infer(images(1)).probabilities

    np.testing.assert_array_equal(first, second)


def test_an_error_inside_is_not_swallowed(make: Make) -> None:
    with pytest.raises(KeyError), make():
        raise KeyError("inside")


def test_a_backend_names_its_precision(make: Make) -> None:
    assert make().precision


def test_without_with_cams_there_is_no_map(make: Make) -> None:
    with make() as backend:
        assert backend.infer(images(1)).cams is None


@pytest.mark.parametrize("name", INSTALLED)
@pytest.mark.parametrize("number", [0, 1, 3])
def test_with_cams_every_image_gets_a_map_and_the_same_probabilities(name: str, number: int, model: Model) -> None:
    backend = load_backend(name)
    batch = np.concatenate([images(3), np.zeros((1, 1, 512, 512), np.float32)])[4 - number :]

    with backend(model, EFFORT, with_cams=True) as mapping, backend(model, EFFORT) as plain:
        found, expected = mapping.infer(batch), plain.infer(batch)

    assert found.cams is not None
    assert found.cams.shape == (number, 32, 32)
    assert found.cams.dtype == np.float32
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)


@pytest.mark.parametrize("name", NEED_MODEL)
def test_maps_are_those_of_the_graph_in_onnx_runtime(name: str, model: Model) -> None:
    session = InferenceSession(model.graph, providers=["CPUExecutionProvider"])
    (expected,) = session.run(["cam"], {"image": images(3)})

    with load_backend(name)(model, EFFORT, with_cams=True) as backend:
        found = backend.infer(images(3)).cams

    largest = np.abs(expected).max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found / largest, expected / largest, atol=MAP_TOLERANCE)
    assert (expected.min(axis=(1, 2)) < 0).all()
    assert (expected.max(axis=(1, 2)) > 0).all()


@pytest.mark.parametrize("name", NEED_MODEL)
@pytest.mark.parametrize("with_cams", [False, True])
def test_distances_are_those_of_the_graph_in_onnx_runtime(name: str, with_cams: bool, model: Model) -> None:
    session = InferenceSession(model.graph, providers=["CPUExecutionProvider"])
    (expected,) = session.run(["distance"], {"image": images(3)})

    with load_backend(name)(model, EFFORT, with_cams=with_cams) as backend:
        found, none = backend.infer(images(3)).distances, backend.infer(images(3)[:0]).distances

    assert found is not None
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert none is not None
    assert none.shape == (0,)


@pytest.mark.parametrize("name", INSTALLED)
def test_a_model_without_statistics_has_no_distances(name: str, model: Model) -> None:
    manifest = replace(model.manifest, distance_name=None, distance_limit=None)

    with load_backend(name)(replace(model, manifest=manifest), EFFORT) as backend:
        assert backend.infer(images(1)).distances is None


@pytest.mark.parametrize("name", NEED_MODEL)
def test_a_model_without_maps_is_refused_if_maps_are_wanted(name: str, model: Model) -> None:
    blind = replace(model, manifest=replace(model.manifest, cam_name=None))

    with pytest.raises(ModelError, match=r"has no heat map.*--cam none"):
        load_backend(name)(blind, EFFORT, with_cams=True)


@pytest.mark.parametrize("name", INSTALLED)
def test_a_requested_batch_size_is_used(name: str, model: Model) -> None:
    assert load_backend(name)(model, EFFORT).batch_size == 2
    assert load_backend(name)(model, Effort()).batch_size >= 1


@pytest.mark.parametrize("name", NEED_MODEL)
def test_a_backend_without_its_model_is_refused_with_the_option(name: str) -> None:
    with pytest.raises(ModelError, match="--model"):
        load_backend(name)(None, EFFORT)


@pytest.mark.parametrize("name", NEED_MODEL)
@pytest.mark.parametrize("content", [None, b"no graph"])
def test_nothing_is_loaded_before_enter_and_a_bad_graph_is_refused_there(
    name: str, content: bytes | None, model: Model, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / GRAPH).write_bytes(content)
    backend = load_backend(name)(replace(model, folder=tmp_path), EFFORT)

    with pytest.raises(ModelError, match=r"cannot (load|use)"):
        backend.__enter__()


@pytest.mark.parametrize("name", NEED_MODEL)
def test_a_backend_that_fails_gives_advice(name: str, model: Model) -> None:
    with load_backend(name)(model, EFFORT) as backend, pytest.raises(BackendError, match="--batch-size"):
        backend.infer(np.zeros((1, 1, 8, 8), np.float32))
