"""The float16 graph: the declared types, the results of float32, and refusal of values beyond float16."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from tests.build_tools.graphs import replace, store_as_float16, tensor_of, with_graph
from typer.testing import CliRunner

from bsbatch.cuda import library
from bsbatch.errors import ModelError
from bsbatch.imaging import preprocess
from bsbatch.models.directory import GRAPH, Model
from bsbatch.models.onnx.pruning import remove_output
from bsbatch_build.checks.golden import golden_examinations
from bsbatch_build.cli import app
from bsbatch_build.export import precision
from bsbatch_build.export.precision import (
    FILE,
    STEPS,
    derive_half_graph,
    largest_activation,
    replace_products,
    rewrite_in_half,
)
from bsbatch_build.export.stepwise import Stepwise, open_session

CUT = "block2_pool/MaxPool"
"""Last tensor that the slow reference interpreter computes."""


@pytest.fixture(scope="module", autouse=True)
def few() -> Any:
    """Four golden examinations suffice for a twin."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precision, "EXAMINATIONS", 4)
        yield


@pytest.fixture(scope="module")
def full(twin: Path) -> Any:
    return onnx.load(twin / GRAPH)


@pytest.fixture(scope="module")
def typed(full: Any) -> Any:
    return rewrite_in_half(full)


@pytest.fixture(scope="module")
def images() -> NDArray[np.float32]:
    return golden_examinations(4, 0).images


def loaded(folder: Path) -> Model:
    return Model.load(folder, preprocess.VERSION)


def types_of(model: Any) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = {
        value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info, *graph.output)
    }
    return values | {tensor.name: tensor.data_type for tensor in graph.initializer}


def probabilities(model: Any, images: NDArray[Any]) -> NDArray[np.float32]:
    stepwise = Stepwise(model)
    return np.concatenate([stepwise.run(image[np.newaxis])["probabilities"] for image in images])


def scaled(name: str, factor: float) -> Any:
    """A change that multiplies a weight."""
    return lambda graph: replace(graph, name, numpy_helper.to_array(tensor_of(graph, name)) * np.float32(factor))


def test_convolutions_relu_and_pooling_are_float16_and_the_head_is_float32(typed: Any) -> None:
    types = types_of(typed)
    of = {node.name: {types[name] for name in (*node.input, *node.output)} for node in typed.graph.node}
    half = [node.name for node in typed.graph.node if node.name.startswith("block") and node.op_type != "Cast"]
    assert len(half) == 13 + 13 + 5
    assert all(of[name] == {TensorProto.FLOAT16} for name in half)
    head = {"gap/GlobalAveragePool", "fc1/MatMul", "fc1/Add", "fc1/Relu", "predictions/MatMul", "predictions/Softmax"}
    assert all(of.get(name, {TensorProto.FLOAT}) == {TensorProto.FLOAT} for name in head)
    assert head & of.keys() >= {"gap/GlobalAveragePool", "fc1/MatMul", "fc1/Relu"}


def test_the_image_is_float16_and_the_probabilities_are_float32(typed: Any) -> None:
    types = types_of(typed)
    assert (types["image"], types["probabilities"]) == (TensorProto.FLOAT16, TensorProto.FLOAT)
    casts = [node.input[0] for node in typed.graph.node if node.op_type == "Cast"]
    assert casts == ["block5_pool/MaxPool", "block5_conv3/Relu"]  # inputs of the head and of the heat map


def test_rewriting_does_not_change_the_original_graph(full: Any, twin: Path) -> None:
    assert full == onnx.load(twin / GRAPH)


def test_weights_that_are_stored_as_float16_give_the_same_graph(full: Any, typed: Any) -> None:
    stored = onnx.ModelProto()
    stored.CopyFrom(full)
    store_as_float16(stored.graph)
    rewritten = rewrite_in_half(stored)
    assert list(rewritten.graph.node) == list(typed.graph.node)
    halves = [tensor for tensor in typed.graph.initializer if tensor.data_type == TensorProto.FLOAT16]
    assert len(halves) == 13 + 13
    assert all(tensor_of(rewritten.graph, tensor.name) == tensor for tensor in halves)


def test_a_second_output_reads_the_activations_in_float32(full: Any, typed: Any) -> None:
    more = onnx.ModelProto()
    more.CopyFrom(full)
    last = "block5_conv3/Relu"
    more.graph.node.append(helper.make_node("ReduceMean", [last], ["more/Mean"], "more/Mean", axes=[1], keepdims=0))
    more.graph.node.append(helper.make_node("Relu", ["more/Mean"], ["more"], "more/Relu"))
    more.graph.output.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ("N", 32, 32)))
    rewritten = rewrite_in_half(more)
    types = types_of(rewritten)
    assert (types[last], types[f"{last}/Cast"], types["more/Mean"], types["more"]) == (10, 1, 1, 1)
    image = np.full((1, 1, 512, 512), 0.5, np.float16)
    tensors = Stepwise(rewritten).run(image)
    assert np.array_equal(tensors["probabilities"], Stepwise(typed).run(image)["probabilities"])
    assert np.allclose(tensors["more"], tensors[last].astype(np.float32).mean(axis=1), rtol=1e-5, atol=1e-7)


def test_every_float16_tensor_equals_that_of_an_independent_interpreter(typed: Any) -> None:
    """ONNX' own interpreter sums in another order, so the last bit of float16 may differ, no more."""
    image = golden_examinations(2, 0).images[:1, :, :64, :64].astype(np.float16)
    small = onnx.load_from_string(remove_output(typed.SerializeToString(), "cam"))  # maps are of 512 x 512 images only
    for dimension in small.graph.input[0].type.tensor_type.shape.dim[2:]:
        dimension.dim_value = 64
    actual = Stepwise(small).run(image)
    names = [node.output[0] for node in small.graph.node]
    judge = ReferenceEvaluator(small)
    early = names[: names.index(CUT) + 1]
    expected = dict(zip(early, judge.run(early, {"image": image}), strict=True))
    for name, values in expected.items():
        assert [str(values.dtype), str(actual[name].dtype)] == ["float16", "float16"]
        scale = np.abs(values.astype(np.float64)).max()
        assert np.abs(values.astype(np.float64) - actual[name]).max() <= 4e-3 * scale, name


def test_onnx_runtime_alone_would_round_next_to_nothing(full: Any, images: NDArray[np.float32]) -> None:
    """This is why the graph is run node by node: as a whole it stays float32 between the operators."""
    stored = onnx.ModelProto()
    stored.CopyFrom(full)
    store_as_float16(stored.graph)
    typed, rounded = rewrite_in_half(stored), images[:1].astype(np.float16)
    expected = open_session(stored).run(["probabilities"], {"image": rounded.astype(np.float32)})[0]
    at_once = open_session(typed).run(["probabilities"], {"image": rounded})[0]
    stepwise = probabilities(typed, rounded)
    assert np.abs(stepwise - expected).max() > 4 * np.abs(at_once - expected).max()


def test_the_rewritten_model_is_stored_with_the_effect_of_float16(twin: Path, tmp_path: Path) -> None:
    folder = with_graph(twin, tmp_path / "model", lambda _: None)
    activities: list[str] = []
    made = derive_half_graph(loaded(folder), activities.append)
    assert made.path == folder / FILE
    assert loaded(folder).manifest.derived[FILE].source == loaded(folder).manifest.files[GRAPH]
    assert 0 < made.rounding.difference < 5e-3
    assert 1 < made.rounding.largest < 100
    assert made.rounding.examinations == 4
    assert made.rounding.cam_difference is not None
    assert 0 < made.rounding.cam_difference < 0.1  # random weights keep little of an image apart
    assert made.rounding.distance_difference is not None
    assert 0 < made.rounding.distance_difference < 0.1
    assert {name: activities.count(name) for name in activities} == {"activations": 4, "float32": 4, "float16": 4}
    again: list[str] = []
    assert derive_half_graph(loaded(folder), again.append) == made
    assert again == []


def test_another_threshold_repeats_the_comparison(twin: Path, tmp_path: Path) -> None:
    folder = with_graph(twin, tmp_path / "model", lambda _: None)
    derive_half_graph(loaded(folder))
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    (folder / "manifest.json").write_text(json.dumps({**manifest, "threshold": 0.25}), encoding="utf-8")
    activities: list[str] = []
    derive_half_graph(loaded(folder), activities.append)
    assert len(activities) == 12


def test_the_largest_activation_is_in_the_reported_tensor(full: Any, images: NDArray[np.float32]) -> None:
    largest, name = largest_activation(full, images)
    tensors = [Stepwise(full).run(image[np.newaxis]) for image in images]
    of = {
        node.output[0]: max(float(np.abs(each[node.output[0]]).max()) for each in tensors)
        for node in full.graph.node
        if node.op_type == "Conv"
    }
    assert name == max(of, key=of.__getitem__)
    assert largest == pytest.approx(of[name], rel=1e-6)


def test_products_as_sums_are_the_same_function_without_a_matrix_product(
    typed: Any, images: NDArray[np.float32]
) -> None:
    more = onnx.ModelProto()
    more.CopyFrom(typed)
    more.graph.initializer.append(numpy_helper.from_array(np.ones((1, 32), np.float32), "more/ones"))
    more.graph.node.extend(
        [
            helper.make_node("Gemm", ["fc1/Relu", "fc1/kernel", "fc1/bias"], ["more/Gemm"], "more/Gemm", transB=1),
            helper.make_node("MatMul", ["more/ones", "more/Transpose"], ["more"], "more/MatMul"),
        ]
    )
    more.graph.node.insert(
        len(more.graph.node) - 1, helper.make_node("Transpose", ["more/Gemm"], ["more/Transpose"], perm=[1, 0])
    )
    more.graph.output.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, (1, "N")))
    summed, image = replace_products(more), images[:2].astype(np.float16)
    assert not {"MatMul", "Gemm"} & {node.op_type for node in summed.graph.node}
    actual, expected = Stepwise(summed).run(image), Stepwise(more).run(image)
    for name in ("probabilities", "cam", "more"):
        assert actual[name].shape == expected[name].shape
        assert np.allclose(actual[name], expected[name], rtol=1e-5, atol=1e-6)


def test_an_activation_beyond_float16_is_refused_by_name(twin: Path, tmp_path: Path) -> None:
    folder = with_graph(twin, tmp_path / "model", scaled("block2_conv1/kernel", 1e5))
    with pytest.raises(ModelError, match=r"block\d_conv\d/Conv reaches [\d,]+ on golden examinations, float16 ends at"):
        derive_half_graph(loaded(folder))
    assert not (folder / FILE).exists()


def test_a_weight_beyond_float16_is_refused_by_name(full: Any) -> None:
    changed = onnx.ModelProto()
    changed.CopyFrom(full)
    scaled("block2_conv1/kernel", 1e7)(changed.graph)
    with pytest.raises(ModelError, match="block2_conv1/kernel is beyond the 65,504 of float16"):
        rewrite_in_half(changed)


def test_a_model_that_float16_changes_is_refused(twin: Path, tmp_path: Path) -> None:
    """Weights so small that float16 has no bits left for them, compensated by the next layer."""

    def change(graph: Any) -> None:
        scaled("block2_conv1/kernel", 1e-6)(graph)
        scaled("block2_conv1/bias", 1e-6)(graph)
        scaled("block2_conv2/kernel", 1e6 / 64)(graph)
        scaled("block3_conv1/kernel", 64)(graph)
        scaled("predictions/kernel", 20)(graph)

    folder = with_graph(twin, tmp_path / "model", change)
    with pytest.raises(ModelError, match=r"in float16 .* differs by .* \(0.005 passes at fp16\)"):
        derive_half_graph(loaded(folder))


def test_a_file_that_is_no_graph_is_refused(twin: Path, tmp_path: Path) -> None:
    folder = with_graph(twin, tmp_path / "model", lambda _: None)
    (folder / GRAPH).write_bytes(b"no graph")
    with pytest.raises(ModelError, match="SHA-256 differs"):
        loaded(folder)
    model = Model(folder, Model.load(twin, preprocess.VERSION).manifest)
    with pytest.raises(ModelError, match="is no ONNX graph"):
        derive_half_graph(model)


def test_the_command_reports_the_effect_of_float16(twin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "find_spec", lambda _: None)
    folder = with_graph(twin, tmp_path / "model", lambda _: None)
    done = CliRunner().invoke(app, ["compile", str(folder)], catch_exceptions=False)
    assert done.exit_code == 0
    assert f"fp16 graph  {folder / FILE}" in done.stdout
    assert "of 65,504 at block" in done.stdout
    assert "on 4 golden examinations" in done.stdout
    assert "of a map's largest value" in done.stdout


def test_every_step_is_counted() -> None:
    assert STEPS == 3 * 16
