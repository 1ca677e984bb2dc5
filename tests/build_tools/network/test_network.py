"""The network, and the origins of its weights."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bsbatch.errors import MissingPackageError, ModelError, UsageError
from bsbatch_build import toolchain
from bsbatch_build.network import weights
from bsbatch_build.network.network import BLOCKS, CHANNELS, MIXED, SIDE, NetworkSettings, build

TWIN = 0.0625
# Keras 3.15 saves with np.array(variable), of which NumPy 2 warns; only Keras can change that.
KERAS_SAVES = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def twin(weights_from: str | Path = "random", seed: int = 0) -> Any:
    return weights.load(NetworkSettings(str(weights_from), seed, TWIN))


def image(seed: int = 0) -> Any:
    return np.random.default_rng(seed).random((1, SIDE, SIDE, CHANNELS), dtype=np.float32)


def assert_equal_weights(one: Any, other: Any) -> None:
    for left, right in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.fixture(scope="module")
def trained() -> Any:
    """A narrow network with the weights of seed 1000, which no other test uses."""
    return twin(seed=1000)


def write_keras2_weights(network: Any, path: Path, without: str = "") -> Path:
    """Write a weights file as Keras 2 did: a group for each layer, named in attributes."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as stored:
        layers = [layer for layer in network.layers if layer.name != without]
        stored.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        for layer in layers:
            group = stored.create_group(layer.name)
            names = [f"{layer.name}/{weight.name}:0" for weight in layer.weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, values in zip(names, layer.get_weights(), strict=True):
                group[name] = values
    return path


def test_mixed_precision_changes_the_output_only_by_rounding() -> None:
    settings = NetworkSettings(width=TWIN)
    full, mixed = (np.asarray(network(image())) for network in (build(settings), build(settings, dtype=MIXED)))
    assert mixed.dtype == np.float32
    assert 0.0 < np.abs(full - mixed).max() < 0.02


def test_the_papers_network_has_14978370_weights() -> None:
    network = build(NetworkSettings())
    assert network.count_params() == 14_978_370
    assert network.input_shape == (None, 512, 512, 3)
    assert network.output_shape == (None, 2)


def test_layers_are_named_as_in_keras_vgg16() -> None:
    convolutions = [f"block{b}_conv{c}" for b, (count, _) in enumerate(BLOCKS, start=1) for c in range(1, count + 1)]
    names = [layer.name for layer in twin().layers if "conv" in layer.name]
    assert names == convolutions
    assert len(names) == 13


def test_width_scales_every_layer_but_the_last() -> None:
    network = twin()
    assert network.get_layer("block1_conv1").filters == 4
    assert network.get_layer("block5_conv3").filters == 32
    assert network.get_layer("fc1").units == 32
    assert network.get_layer("predictions").units == 2


def test_the_first_two_blocks_may_have_a_width_of_their_own() -> None:
    network: Any = build(NetworkSettings(width=0.0625, early_width=0.03125))
    assert [network.get_layer(f"block{block}_conv2").filters for block in (1, 2, 3)] == [2, 4, 16]
    assert network.get_layer("fc1").units == 32


def test_a_seed_decides_all_weights() -> None:
    assert_equal_weights(twin(seed=3), twin(seed=3))
    assert not np.array_equal(twin(seed=3).get_weights()[0], twin(seed=4).get_weights()[0])


def test_no_two_layers_draw_from_the_same_seed() -> None:
    network = twin()
    first, second = (network.get_layer(name).get_weights()[0].ravel() for name in ("block5_conv1", "block5_conv2"))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_weights_give_probabilities_away_from_0_and_1(seed: int) -> None:
    probabilities = np.asarray(twin(seed=seed)(image()))
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-6)
    assert 0.01 < probabilities.min() < probabilities.max() < 0.99


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 0.0}, "--width 0.0"),
        ({"width": float("nan")}, "--width nan"),
        ({"early_width": 5.0}, "--early-width 5.0"),
        ({"weights": "imagenet", "early_width": 0.5}, "leave --width and --early-width out"),
        ({"seed": -1}, "--seed -1 is negative"),
        ({"weights": "imagenet", "width": 0.5}, "leave --width and --early-width out"),
    ],
)
def test_settings_that_no_network_can_have_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        NetworkSettings(**arguments)


@KERAS_SAVES
@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model.weights.h5"])
def test_weights_are_read_from_files_of_keras_3(name: str, trained: Any, tmp_path: Path) -> None:
    path = tmp_path / name
    (trained.save_weights if name.endswith(".weights.h5") else trained.save)(path)
    assert_equal_weights(twin(path), trained)


def test_weights_are_read_by_layer_name_from_a_file_of_keras_2(trained: Any, tmp_path: Path) -> None:
    assert_equal_weights(twin(write_keras2_weights(trained, tmp_path / "weights.h5")), trained)


def test_a_weights_file_without_a_layer_is_refused(trained: Any, tmp_path: Path) -> None:
    path = write_keras2_weights(trained, tmp_path / "weights.h5", without="fc1")
    with pytest.raises(ModelError, match="fc1"):
        twin(path)


@KERAS_SAVES
def test_a_weights_file_of_keras_3_without_a_layer_is_refused(trained: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.weights.h5"
    trained.save_weights(path)
    with pytest.importorskip("h5py").File(path, "r+") as stored:
        del stored["layers/dense"]
    with pytest.raises(ModelError, match="give a file of the"):
        twin(path)


def test_a_file_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no such file"):
        twin(tmp_path / "model.keras")


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model.weights.h5", "model.onnx"])
def test_a_file_that_is_no_model_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"no model at all")
    with pytest.raises(ModelError, match=name):
        twin(path)


@KERAS_SAVES
@pytest.mark.parametrize("name", ["model.keras", "model.weights.h5"])
def test_a_file_of_another_width_is_refused(name: str, tmp_path: Path) -> None:
    narrow = build(NetworkSettings(width=0.03125))
    (narrow.save_weights if name.endswith(".weights.h5") else narrow.save)(tmp_path / name)
    with pytest.raises(ModelError, match=r"with the --width|give the --width"):
        twin(tmp_path / name)


@KERAS_SAVES
def test_a_model_of_other_layers_is_refused(tmp_path: Path) -> None:
    keras = toolchain.keras()
    keras.Sequential([keras.Input((512, 512, 3)), keras.layers.Conv2D(1, 3)]).save(tmp_path / "other.keras")
    with pytest.raises(ModelError, match="has 2 weight arrays, the paper's network 30"):
        twin(tmp_path / "other.keras")


@KERAS_SAVES
def test_a_model_of_the_same_weights_and_another_scaling_is_refused(trained: Any, tmp_path: Path) -> None:
    keras = toolchain.keras()
    scaled = keras.Sequential([keras.Input((512, 512, 3)), keras.layers.Rescaling(1 / 255), *trained.layers[1:]])
    scaled.save(tmp_path / "scaled.keras")
    with pytest.raises(ModelError, match="holds another network"):
        twin(tmp_path / "scaled.keras")


def test_imagenet_weights_that_cannot_be_downloaded_are_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(**_: Any) -> None:
        raise OSError("URL fetch failure on https://storage.googleapis.com")

    monkeypatch.setattr(toolchain.keras().applications, "VGG16", unreachable)
    with pytest.raises(UsageError, match=r"cannot be downloaded \(URL fetch failure.*~/.keras/models/.*--weights FILE"):
        weights.load(NetworkSettings("imagenet"))


def test_imagenet_weights_fill_the_convolutions_and_leave_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = toolchain.keras().applications.VGG16(include_top=False, weights=None)
    monkeypatch.setattr(toolchain.keras().applications, "VGG16", lambda **_: trunk)
    network = weights.load(NetworkSettings("imagenet"))
    assert_equal_weights(network.get_layer("block5_conv3"), trunk.get_layer("block5_conv3"))
    assert_equal_weights(network.get_layer("block1_conv1"), trunk.get_layer("block1_conv1"))
    assert network.get_layer("fc1").get_weights()[0].any()


def test_another_keras_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(UsageError, match="KERAS_BACKEND is 'jax'"):
        toolchain.keras()


def test_a_missing_package_answers_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(MissingPackageError, match=r'^tf2onnx is not installed: pip install "bsbatch\[build\]"$'):
        toolchain.package("tf2onnx")


def test_the_command_loads_no_heavy_package() -> None:
    heavy = "{'tensorflow', 'keras', 'tf2onnx', 'onnx', 'onnxruntime', 'numpy', 'h5py'}"
    program = f"import sys, bsbatch_build.cli.export; assert not {heavy} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", program], check=True)
