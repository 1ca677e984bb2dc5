"""Heat maps from a Keras model: equal to the gradient tape's over the whole network, for any head."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from bsbatch.backends.fake import FakeBackend
from bsbatch.backends.keras_cams import KerasCams, KerasTape
from bsbatch.config import Effort
from bsbatch.errors import MissingPackageError, ModelError
from bsbatch.models.directory import GRAPH, KERAS, Manifest, Model, sha256_of
from bsbatch_build import toolchain

TOLERANCE = 1e-5

Images = NDArray[np.float32]


def network_of(*, channels: int = 1, pooled: int = 1, side: int = 512) -> Any:
    """A network without a closed form for Grad-CAM: its head has two dense layers, tanh and softmax."""
    keras = toolchain.keras()
    layers = keras.layers
    keras.utils.set_random_seed(5)
    image = keras.Input((side, side, channels))
    tensor = layers.Conv2D(4, 16, 16, activation="relu")(image)
    tensor = layers.Conv2D(6, 3, pooled, padding="same", name="last")(tensor)
    tensor = layers.BatchNormalization()(tensor)
    tensor = layers.Activation("relu", name="features")(tensor)
    tensor = layers.AveragePooling2D(2)(tensor)
    tensor = layers.GlobalMaxPooling2D()(tensor)
    tensor = layers.Dense(5, activation="tanh")(tensor)
    return keras.Model(image, layers.Dense(2, activation="softmax")(tensor))


def images_of(number: int) -> Images:
    return np.random.default_rng(0).random((number, 1, 512, 512), np.float32)


def grad_cam_of(network: Any, image: Images) -> Images:
    """Compute Grad-CAM by its definition over the whole network, for one image, before the ReLU."""
    both = network.__class__(network.input, [network.get_layer("features").output, network.output])
    with tf.GradientTape() as tape:
        features, probabilities = both(image.transpose(1, 2, 0)[np.newaxis], training=False)
        score = probabilities[:, 1]
    weights = tf.reduce_mean(tape.gradient(score, features), axis=(1, 2), keepdims=True)
    return np.asarray(tf.reduce_sum(features * weights, axis=3)[0])


def model_of(folder: Path, network: Any | None) -> Model:
    files = {GRAPH: "0" * 64}
    if network is not None:
        toolchain.save(network, folder / KERAS)
        files[KERAS] = sha256_of(folder / KERAS)
    return Model(folder, Manifest(files, 1, "other head"))


def cams_of(model: Model, threshold: float = 0.0) -> KerasCams:
    return KerasCams(FakeBackend(None, Effort()), model, Effort(), lambda p: p >= threshold)


def test_maps_of_another_head_are_those_of_the_tape_over_the_whole_network() -> None:
    network, images = network_of(), images_of(3)

    maps = KerasTape(network).maps(images)

    assert maps.shape == (3, 32, 32)
    assert maps.dtype == np.float32
    for image, found in zip(images, maps, strict=True):
        expected = grad_cam_of(network, image)
        assert np.abs(expected).max() > 0
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


def test_maps_of_a_coarser_grid_are_resized_to_32_x_32() -> None:
    maps = KerasTape(network_of(pooled=2)).maps(images_of(1))

    assert maps.shape == (1, 32, 32)
    assert np.isfinite(maps).all()


def test_probabilities_are_the_backends_and_maps_are_computed_only_if_wanted(tmp_path: Path) -> None:
    images = images_of(6) * np.linspace(0, 0.2, 6, dtype=np.float32)[:, np.newaxis, np.newaxis, np.newaxis]
    expected = FakeBackend(None, Effort()).infer(images).probabilities
    threshold = float(np.median(expected[:, 1]))
    network = network_of()

    with cams_of(model_of(tmp_path, network), threshold) as backend:
        inference = backend.infer(images)

    assert inference.cams is not None
    np.testing.assert_array_equal(inference.probabilities, expected)
    assert [bool(cam.any()) for cam in inference.cams] == [p >= threshold for p in expected[:, 1]]
    np.testing.assert_allclose(inference.cams[3:], KerasTape(network).maps(images[3:]), rtol=1e-4, atol=1e-7)


def test_a_directory_without_a_keras_model_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"has no model\.keras: export it again with bsbatch-build export --keep-keras"
    ):
        cams_of(model_of(tmp_path, None))


def test_a_file_that_keras_cannot_load_is_named(tmp_path: Path) -> None:
    (tmp_path / KERAS).write_bytes(b"no model")
    model = Model(tmp_path, Manifest({GRAPH: "0" * 64, KERAS: sha256_of(tmp_path / KERAS)}, 1, "broken"))

    with pytest.raises(ModelError, match=r"Keras cannot load .*model\.keras"), cams_of(model):
        pass


@pytest.mark.parametrize(("channels", "side"), [(2, 512), (1, 256)], ids=["channels", "size"])
def test_a_model_of_another_input_is_refused(channels: int, side: int) -> None:
    with pytest.raises(ModelError, match="must be functional and turn"):
        KerasTape(network_of(channels=channels, side=side))


def test_tensorflow_that_is_not_installed_is_named_with_its_install_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(tmp_path, network_of())
    monkeypatch.setitem(sys.modules, "tensorflow", None)

    with pytest.raises(MissingPackageError, match=r'tensorflow is not installed: pip install "bsbatch\[keras\]"'):
        cams_of(model).__enter__()


def test_another_backend_of_keras_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(tmp_path, network_of())
    monkeypatch.setenv("KERAS_BACKEND", "jax")

    with pytest.raises(ModelError, match="KERAS_BACKEND is not tensorflow"):
        cams_of(model).__enter__()
