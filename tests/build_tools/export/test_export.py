"""From a Keras network to a model directory."""

import json
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from bsbatch.errors import ModelError, UsageError
from bsbatch.imaging import preprocess
from bsbatch.models.directory import Model, sha256_of
from bsbatch_build import toolchain
from bsbatch_build.checks.export_check import check_graph, random_images, storage_difference
from bsbatch_build.checks.verify import VerifySettings, verify
from bsbatch_build.export import export as exporting
from bsbatch_build.export.convert import store_as_half, to_bytes, to_onnx
from bsbatch_build.export.export import ExportSettings, export, model_name
from bsbatch_build.network import weights
from bsbatch_build.network.network import NetworkSettings

TWIN = NetworkSettings(seed=1, width=0.0625)
COMMAND = "import typer; from bsbatch_build.cli.export import export; a = typer.Typer(); a.command()(export); a()"
# Keras 3.15 saves with np.array(variable), of which NumPy 2 warns; only Keras can change that.
KERAS_SAVES = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture(scope="module")
def network() -> Any:
    return weights.load(TWIN)


@pytest.fixture(scope="module")
def model(network: Any) -> Any:
    return to_onnx(network)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> exporting.ExportedModel:
    return export(ExportSettings(tmp_path_factory.mktemp("models") / "twin", TWIN, threshold=0.25))


@pytest.fixture(scope="module", params=[1, 3])
def other(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Keras model whose head has no closed form: two branches, sigmoid gates, no hidden layer of the paper's."""
    keras = toolchain.keras()
    layers = keras.layers
    keras.utils.set_random_seed(7)
    image = keras.Input((512, 512, request.param))
    trunk = layers.Conv2D(8, 3, strides=4, activation="swish")(layers.Rescaling(2.0, -1.0)(image))
    trunk = layers.BatchNormalization()(trunk)
    trunk = layers.Add()([layers.Conv2D(8, 3, strides=4)(trunk), layers.DepthwiseConv2D(3, strides=4)(trunk)])
    pooled = layers.GlobalAveragePooling2D()(trunk)
    gated = layers.Multiply()([pooled, layers.Dense(8, activation="sigmoid")(pooled)])
    path = tmp_path_factory.mktemp("other") / "gated.keras"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        keras.Model(image, layers.Dense(2, activation="softmax")(gated)).save(path)
    return path


@KERAS_SAVES
def test_a_network_with_another_head_is_exported_without_a_heat_map_and_verified(other: Path, tmp_path: Path) -> None:
    made = export(ExportSettings(tmp_path / "model", NetworkSettings(), other=other, keep_keras=True))
    assert made.manifest.cam_name is None
    assert made.manifest.name == "gated"
    graph = onnx.load(tmp_path / "model" / "model.onnx").graph
    assert [(value.name, shape(value)) for value in graph.input] == [("image", ["N", 1, 512, 512])]
    assert [value.name for value in graph.output] == ["probabilities"]
    report = verify(VerifySettings(tmp_path / "model", examinations=4, backends=("onnxruntime",)))
    assert report.backends[0].is_within_tolerance


def test_a_network_with_another_head_leaves_no_keras_model_unless_asked(other: Path, tmp_path: Path) -> None:
    made = export(ExportSettings(tmp_path / "model", NetworkSettings(), other=other))
    assert set(made.manifest.files) == {"model.onnx"}
    with pytest.raises(ModelError, match="another network than the paper's, with --keep-keras"):
        verify(VerifySettings(tmp_path / "model", examinations=4, backends=("onnxruntime",)))


@KERAS_SAVES
def test_a_keras_model_without_two_probabilities_is_refused(tmp_path: Path) -> None:
    layers, image = toolchain.keras().layers, toolchain.keras().Input((512, 512, 1))
    logits = layers.Dense(2)(layers.GlobalAveragePooling2D()(image))
    toolchain.keras().Model(image, logits).save(tmp_path / "logits.keras")
    with pytest.raises(ModelError, match="end it with a softmax"):
        weights.load_other(tmp_path / "logits.keras")
    toolchain.keras().Model(image, layers.GlobalAveragePooling2D()(image)).save(tmp_path / "one.keras")
    with pytest.raises(ModelError, match=r"it must be functional and turn \(None, 512, 512, 1 or 3\)"):
        weights.load_other(tmp_path / "one.keras")
    (tmp_path / "broken.keras").write_bytes(b"no archive")
    with pytest.raises(ModelError, match="Keras cannot load"):
        weights.load_other(tmp_path / "broken.keras")


def test_a_network_of_its_own_takes_no_weights_beside_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave --weights, --width, --widen, --half-weights out"):
        ExportSettings(tmp_path, TWIN, other=tmp_path / "gated.keras")


def initializer(model: Any, name: str) -> Any:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def perturb(model: Any, name: str, factor: float) -> bytes:
    """Multiply one initialiser of the graph."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    tensor = initializer(copy, name)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), name))
    return to_bytes(copy)


def shape(value: Any) -> list[str | int]:
    return [dimension.dim_param or dimension.dim_value for dimension in value.type.tensor_type.shape.dim]


def test_the_graph_takes_one_channel_and_any_number_of_images(model: Any) -> None:
    assert [(value.name, shape(value)) for value in model.graph.input] == [("image", ["N", 1, 512, 512])]
    assert [(value.name, shape(value)) for value in model.graph.output] == [("probabilities", ["N", 2])]
    assert [(used.domain, used.version) for used in model.opset_import] == [("", 17)]


def test_the_graph_has_no_node_that_only_moves_data(model: Any) -> None:
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("Conv") == 13
    assert set(operators) == {"Conv", "Relu", "MaxPool", "GlobalAveragePool", "Squeeze", "MatMul", "Add", "Softmax"}


def test_nodes_tensors_and_weights_are_named_after_their_layers(model: Any) -> None:
    nodes = {node.name: node for node in model.graph.node}
    assert list(nodes["block5_conv3/Conv"].input)[1:] == ["block5_conv3/kernel", "block5_conv3/bias"]
    assert list(nodes["block5_conv3/Relu"].output) == ["block5_conv3/Relu"]
    assert len(nodes) == len(model.graph.node)
    assert {tensor.name for tensor in model.graph.initializer if tensor.name.startswith("fc1")} == {
        "fc1/kernel",
        "fc1/bias",
    }


def test_the_first_kernel_is_the_sum_over_its_three_input_channels(model: Any, network: Any) -> None:
    rows_columns_in_out = network.get_layer("block1_conv1").get_weights()[0]
    summed = rows_columns_in_out.sum(axis=2).transpose(2, 0, 1)[:, np.newaxis]
    np.testing.assert_allclose(numpy_helper.to_array(initializer(model, "block1_conv1/kernel")), summed, atol=1e-6)


def test_the_graph_agrees_with_keras_on_three_equal_channels(model: Any, network: Any) -> None:
    images = random_images(seed=7)
    session = onnxruntime.InferenceSession(to_bytes(model), providers=["CPUExecutionProvider"])
    (actual,) = session.run(None, {"image": images})
    expected = np.asarray(network(np.repeat(images.transpose(0, 2, 3, 1), 3, axis=3)))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)
    assert np.ptp(expected[:, 1]) > 1e-3


def test_the_difference_from_keras_is_small_and_reported(model: Any, network: Any) -> None:
    compared = check_graph(to_bytes(model), network, seed=0)
    assert compared.images >= 2
    assert compared.difference <= 1e-5


def test_a_network_whose_biases_are_zero_is_converted_too(network: Any) -> None:
    unbiased = weights.load(TWIN)
    unbiased.set_weights([values * (values.ndim > 1) for values in network.get_weights()])
    check_graph(to_bytes(to_onnx(unbiased)), unbiased, seed=0)


@pytest.mark.parametrize("factor", [1.01, float("nan")])
def test_a_graph_that_differs_from_keras_is_refused(factor: float, model: Any, network: Any) -> None:
    with pytest.raises(ModelError, match="differs from the Keras model"):
        check_graph(perturb(model, "block3_conv2/kernel", factor), network, seed=0)


def test_a_graph_that_differs_is_refused_though_both_probabilities_are_saturated() -> None:
    sure = weights.load(TWIN)
    kernel, bias = sure.get_layer("predictions").get_weights()
    sure.get_layer("predictions").set_weights([kernel, bias + np.asarray([20, -20], dtype=np.float32)])
    wrong = perturb(to_onnx(sure), "block3_conv2/kernel", 1.5)
    with pytest.raises(ModelError, match="in its logarithm"):
        check_graph(wrong, sure, seed=0)


def test_a_refused_graph_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(network: Any) -> Any:
        return onnx.load_from_string(perturb(to_onnx(network), "block3_conv2/kernel", 1.01))

    monkeypatch.setattr(exporting, "to_onnx", wrong)
    with pytest.raises(ModelError, match="nothing was written"):
        export(ExportSettings(tmp_path / "out", TWIN))
    assert list(tmp_path.iterdir()) == []


def test_the_engine_loads_the_model_directory(made: exporting.ExportedModel) -> None:
    loaded = Model.load(made.folder, preprocess.VERSION)
    assert loaded.model_id == made.model_id
    assert loaded.manifest == made.manifest
    assert sorted(path.name for path in made.folder.iterdir()) == ["manifest.json", "model.onnx"]


def test_the_manifest_records_the_origin_of_the_model(made: exporting.ExportedModel) -> None:
    fields = json.loads((made.folder / "manifest.json").read_text(encoding="utf-8"))
    assert fields["name"] == "vgg16-width0.0625-random-seed1"
    assert fields["threshold"] == 0.25
    assert fields["labels"][1] == "metastasis"
    assert {"bsbatch", "keras", "tensorflow", "tf2onnx", "onnx"} <= fields["tools"].keys()
    assert fields["training"]["note"] == "not trained: random weights"
    assert fields["training"]["seed"] == 1
    assert 0 <= fields["training"]["parity_difference"] <= 1e-5


def test_the_same_command_gives_the_same_bytes_in_another_process(
    made: exporting.ExportedModel, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    arguments = [str(again), "--width", "0.0625", "--seed", "1"]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", COMMAND, *arguments], check=True, capture_output=True, text=True
    )
    assert (again / "model.onnx").read_bytes() == (made.folder / "model.onnx").read_bytes()
    assert done.stderr == ""
    assert made.model_id in done.stdout
    assert "58,950 (not trained: random weights)" in done.stdout
    assert "Research use only" in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if str(tmp_path) not in line)


def test_another_seed_gives_another_model(made: exporting.ExportedModel, tmp_path: Path) -> None:
    other = export(ExportSettings(tmp_path / "other", NetworkSettings(seed=2, width=TWIN.width)))
    assert other.model_id != made.model_id


@KERAS_SAVES
def test_weights_from_a_file_are_named_by_their_hash(
    network: Any, made: exporting.ExportedModel, tmp_path: Path
) -> None:
    network.save(tmp_path / "trained.keras")
    settings = NetworkSettings(str(tmp_path / "trained.keras"), width=TWIN.width)
    copied = export(ExportSettings(tmp_path / "copied", settings))
    assert copied.manifest.name == "vgg16-width0.0625-trained"
    assert copied.manifest.training["weights"] == "trained.keras"
    assert len(copied.manifest.training["weights_sha256"]) == 64
    assert copied.model_id == made.model_id


def test_weights_stored_as_half_take_half_the_bytes_and_give_nearly_the_same(
    made: exporting.ExportedModel, tmp_path: Path
) -> None:
    halved = export(ExportSettings(tmp_path / "half", TWIN, half_weights=True))
    sizes = [(folder / "model.onnx").stat().st_size for folder in (halved.folder, made.folder)]
    assert sizes[0] < 0.55 * sizes[1]
    training = halved.manifest.training
    assert training["stored_as"] == "fp16"
    assert 0.0 < training["storage_difference"] < 5e-3
    sessions = [
        onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        for folder in (halved.folder, made.folder)
    ]
    images = random_images(seed=3)
    one, other = (session.run(None, {"image": images})[0] for session in sessions)
    assert one.dtype == np.float32
    np.testing.assert_allclose(one, other, rtol=0, atol=5e-3)


def test_half_weights_keep_their_names_behind_a_cast(model: Any) -> None:
    halved = store_as_half(model)
    assert {tensor.name for tensor in halved.graph.initializer} == {tensor.name for tensor in model.graph.initializer}
    conv = next(node for node in halved.graph.node if node.name == "block1_conv1/Conv")
    assert list(conv.input)[1:] == ["block1_conv1/kernel/Cast", "block1_conv1/bias/Cast"]
    assert numpy_helper.to_array(initializer(halved, "block1_conv1/kernel")).dtype == np.float16


def test_a_weight_beyond_float16_is_refused(model: Any) -> None:
    large = onnx.load_from_string(perturb(model, "block2_conv1/kernel", 1e8))
    with pytest.raises(ModelError, match=r"block2_conv1/kernel is beyond the 65,504 of float16"):
        store_as_half(large)


def test_a_difference_beyond_float16_is_refused(model: Any) -> None:
    with pytest.raises(ModelError, match="store the model as fp32"):
        storage_difference(perturb(model, "predictions/kernel", 3.0), to_bytes(model), seed=0)


@KERAS_SAVES
def test_the_manifest_records_the_training(network: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    network.save(run / "model.keras")
    resolved = {"network": {"width": 0.0625}, "recipe": {"epochs": 1}, "split": {}, "masks": True, "start": {}}
    resolved |= {"studies": {"train A": {"positive": 3}}, "tools": {}, "preprocessing_version": 1}
    (run / "config.json").write_text(json.dumps(resolved), encoding="utf-8")
    settings = NetworkSettings(str(run / "model.keras"), width=TWIN.width)
    exported = export(ExportSettings(tmp_path / "out", settings, name="demo", note="synthetic phantoms"))
    training = exported.manifest.training
    assert (exported.manifest.name, training["note"]) == ("demo", "synthetic phantoms")
    assert training["data"] == {"kind": "synthetic phantoms", "studies": {"train A": {"positive": 3}}, "masks": True}
    assert training["configuration"]["recipe"] == {"epochs": 1}
    assert (training["initialisation"], training["selection"]) == ({}, "the weights after the last epoch")
    assert training["history"] == []
    resolved |= {"recipe": {"ema_momentum": 0.5}, "start": {"sha256": "one"}, "average": {"sha256": "other"}}
    (run / "config.json").write_text(json.dumps(resolved), encoding="utf-8")
    training = export(ExportSettings(tmp_path / "mean", settings)).manifest.training
    assert training["initialisation"] == {"mean_of": [{"sha256": "one"}, {"sha256": "other"}]}
    assert training["selection"] == "the average of the weights after the last epoch"


@KERAS_SAVES
def test_a_narrower_network_is_widened_on_request(network: Any, tmp_path: Path) -> None:
    network.save(tmp_path / "narrow.keras")
    wider = NetworkSettings(str(tmp_path / "narrow.keras"), seed=2, width=0.125)
    with pytest.raises(ModelError, match="give the --width it was made with"):
        export(ExportSettings(tmp_path / "refused", wider))
    made = export(ExportSettings(tmp_path / "out", wider, may_widen=True, made_by="make it"))
    assert (made.manifest.training["width"], made.manifest.training["commands"]) == (0.125, ["make it"])
    assert made.weights > 3 * network.count_params()


@KERAS_SAVES
def test_networks_are_joined_and_each_is_named_by_its_hash(network: Any, tmp_path: Path) -> None:
    paths = [tmp_path / "one.keras", tmp_path / "other.keras"]
    for path, trained in zip(paths, (network, weights.load(NetworkSettings(seed=9, width=0.0625))), strict=True):
        trained.save(path)
    wide = NetworkSettings(str(paths[0]), width=0.25)
    made = export(ExportSettings(tmp_path / "out", wide, joined=(paths[1],), mirrored=True))
    training = made.manifest.training
    assert training["weights_sha256"] == sha256_of(paths[0])
    assert [member["weights_sha256"] for member in training["joined_with"]] == [sha256_of(paths[1])]
    assert training["joined"].endswith("each once more for the mirrored image")
    assert all(sha256_of(path)[:16] in training["joined"] for path in paths)
    image = np.repeat(random_images(1)[:1].transpose(0, 2, 3, 1), 3, axis=3)
    joined = weights.load_joined(wide, (paths[1],), mirrored=True)
    once = weights.load_joined(wide, (paths[1],), mirrored=False)
    np.testing.assert_allclose(joined(image), joined(image[:, :, ::-1]), atol=1e-6)
    assert np.max(np.abs(np.asarray(once(image)) - np.asarray(once(image[:, :, ::-1])))) > 1e-5
    with pytest.raises(ModelError, match="or join fewer"):
        weights.load_joined(replace(wide, width=0.125), (paths[1],), mirrored=True)


def test_only_trained_networks_are_joined(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--weights FILE"):
        ExportSettings(tmp_path, TWIN, mirrored=True)
    with pytest.raises(UsageError, match="--weights FILE"):
        ExportSettings(tmp_path, NetworkSettings(), other=tmp_path / "any.keras", joined=(tmp_path / "a.keras",))


def test_an_empty_folder_becomes_the_model(tmp_path: Path) -> None:
    export(ExportSettings(tmp_path, TWIN))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", "model.onnx"]


def test_a_folder_in_use_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="is not empty: name a folder that does not exist yet"):
        export(ExportSettings(tmp_path, TWIN))
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_a_file_where_the_folder_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine", encoding="utf-8")
    for folder in (tmp_path / "out", tmp_path / "out" / "below"):
        with pytest.raises(UsageError, match="name a folder"):
            export(ExportSettings(folder, TWIN))


def test_a_folder_that_filled_up_meanwhile_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"

    def slow(network: Any) -> Any:
        out.mkdir()
        (out / "note.txt").write_text("mine", encoding="utf-8")
        return to_onnx(network)

    monkeypatch.setattr(exporting, "to_onnx", slow)
    with pytest.raises(UsageError, match="cannot be made"):
        export(ExportSettings(out, TWIN))
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "note.txt"]


def test_a_threshold_outside_0_to_1_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--threshold 1\.5"):
        ExportSettings(tmp_path, TWIN, threshold=1.5)


def test_a_model_is_named_after_its_weights() -> None:
    assert model_name(NetworkSettings(seed=1)) == "vgg16-random-seed1"
    assert model_name(NetworkSettings("folder/trained.weights.h5")) == "vgg16-trained"
    assert model_name(NetworkSettings("imagenet")) == "vgg16-imagenet-seed0"
