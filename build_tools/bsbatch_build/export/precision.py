"""The graph that TensorRT compiles: strongly typed, convolutions in float16, the head in float32.

TensorRT 11 has no flag for float16 any more: the graph states the precision of each operator. Everything from the image
to the last pooling becomes float16. Average, head, softmax and every other reader of the activations get them through a
Cast to float32. The image is float16, as the engine feeds it.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import ModelError
from bsbatch.models.derived import Derivation, derive_file
from bsbatch.models.directory import HALF_GRAPH, Model
from bsbatch.records import Inference
from bsbatch_build import toolchain
from bsbatch_build.checks.golden import golden_examinations
from bsbatch_build.checks.verify import Reference, compare_outputs
from bsbatch_build.export.convert import cast_to_float, round_to_half, to_bytes
from bsbatch_build.export.onnx_types import Floats, GraphProto, ModelProto, NodeProto
from bsbatch_build.export.stepwise import Stepwise, open_session

FILE = HALF_GRAPH
VERSION = 3
"""Increases whenever the same graph is rewritten differently, or compared with other tolerances."""
PRECISION = "fp16"
LARGEST = 65_504.0
"""Largest finite float16."""
EXAMINATIONS = 16
"""Golden examinations whose activations are examined."""
STEPS = 3 * EXAMINATIONS
"""Calls of `on_step` by `derive_half_graph` if it makes the graph."""
_OPERATORS = frozenset({"Conv", "Relu", "MaxPool"})
"""Computed in float16 if their input is; that of the head's ReLU is not."""
_METADATA = "bsbatch.fp16"
_PRODUCTS = frozenset({"MatMul", "Gemm"})
_AXES = {axis: f"sums/axis{axis}" for axis in (-3, -2, -1)}
"""Names of the constants that hold each axis."""

OnStep = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Rounding:
    """Effect of float16 on a model, measured on golden examinations."""

    largest: float
    """Largest absolute value among the float16 activations; at most 65,504."""
    tensor: str
    """Name of the tensor with that value."""
    difference: float
    """Largest absolute difference of a probability from float32."""
    flips_at_threshold: int
    """Labels that differ, of examinations within the tolerance of the threshold."""
    examinations: int
    cam_difference: float | None
    """Largest absolute difference of a heat map from float32, as a share of its largest value; None without maps."""
    distance_difference: float | None
    """Largest relative difference of a distance from the training data; None without distances."""


@dataclass(frozen=True, slots=True)
class HalfGraph:
    """A strongly typed graph, and its differences from the float32 graph."""

    path: Path
    rounding: Rounding


def derive_half_graph(model: Model, on_step: OnStep = lambda _: None) -> HalfGraph:
    """Rewrite a model's graph once and store it as ``model.fp16.onnx``, see `bsbatch.models.derived`.

    Parameters
    ----------
    model
        Model with the float32 graph; its threshold defines which labels flip.
    on_step
        Called with the name of the activity after each examination is scored.

    Raises
    ------
    ModelError
        A weight or an activation is beyond float16, or a probability differs by more than 5e-3 or flips a label.
    """
    maker = f"bsbatch-fp16 {VERSION} for threshold {model.manifest.threshold:g}"
    path = derive_file(model, Derivation(FILE, maker, partial(_write_half_graph, model=model, on_step=on_step)))
    (content,) = (entry.value for entry in read_graph(path).metadata_props if entry.key == _METADATA)
    return HalfGraph(path, Rounding(**json.loads(content)))


def rewrite_in_half(model: ModelProto) -> ModelProto:
    """Rewrite a float32 graph: convolutions, their ReLU and pooling in float16, everything after them in float32.

    Parameters
    ----------
    model
        See `bsbatch_build.export.convert.to_onnx`; weights may be stored as float16, and there may be further outputs.

    Returns
    -------
    onnx.ModelProto
        ``image (N, 1, 512, 512) float16`` to the same outputs in float32. Tensors keep their names.

    Raises
    ------
    ModelError
        A weight is beyond float16, or the result is not valid ONNX.
    """
    typed: ModelProto = toolchain.package("onnx").ModelProto()
    typed.CopyFrom(model)
    _store_as_float(typed.graph)
    half = _half_tensors(typed.graph)
    _round_weights(typed.graph, half)
    _insert_casts(typed.graph, half)
    typed.graph.input[0].type.tensor_type.elem_type = toolchain.package("onnx").TensorProto.FLOAT16
    _check(typed)
    return typed


def largest_activation(
    model: ModelProto, images: NDArray[np.float32], on_step: OnStep = lambda _: None
) -> tuple[float, str]:
    """Find the largest absolute value among the activations to be stored as float16, computed in float32.

    Parameters
    ----------
    model
        The float32 graph.
    images
        ``(N, 1, 512, 512)`` in [0, 1].
    on_step
        Called with ``"activations"`` after each image.

    Returns
    -------
    The value, and the name of its tensor: the output of a convolution, before its ReLU.

    Raises
    ------
    ModelError
        The value is beyond the 65,504 of float16, or not a number.
    """
    probed: ModelProto = toolchain.package("onnx").ModelProto()
    probed.CopyFrom(model)
    names = _output_largest_values(probed.graph)
    session = open_session(probed)
    values = np.zeros(len(names))
    for image in images:
        values = np.maximum(values, session.run(None, {probed.graph.input[0].name: image[np.newaxis]}))
        on_step("activations")
    worst = int(np.argmax(values))  # the first NaN, if there is one
    if not values[worst] <= LARGEST:
        raise ModelError(
            f"the activation {names[worst]} reaches {values[worst]:,.0f} on golden examinations, float16 ends at "
            f"{LARGEST:,.0f}: run this model with --backend mnn or onnxruntime, or train it with smaller weights"
        )
    return float(values[worst]), names[worst]


def read_graph(path: Path) -> ModelProto:
    """Read an ONNX file.

    Raises
    ------
    ModelError
        The file is not an ONNX graph.
    """
    try:
        model: ModelProto = toolchain.package("onnx").load(path)
    except toolchain.package("google.protobuf.message").DecodeError as error:
        raise ModelError(f"{path} is no ONNX graph: export the model again with bsbatch-build export") from error
    return model


def replace_products(model: ModelProto) -> ModelProto:
    """Replace each matrix product by elementwise products and a sum, which all architectures support.

    Parameters
    ----------
    model
        See `rewrite_in_half`; the head's products are small.

    Returns
    -------
    onnx.ModelProto
        The same function, in another order of additions.
    """
    summed: ModelProto = toolchain.package("onnx").ModelProto()
    summed.CopyFrom(model)
    nodes = [new for node in summed.graph.node for new in (_as_sum(node) if node.op_type in _PRODUCTS else [node])]
    _replace_nodes(summed.graph, nodes)
    helper = toolchain.package("onnx.numpy_helper")
    summed.graph.initializer.extend(helper.from_array(np.array([axis]), name) for axis, name in _AXES.items())
    _check(summed)
    return summed


def _as_sum(product: NodeProto) -> list[NodeProto]:
    """Replace ``(..., M, K) @ (..., K, N)`` by ``(..., M, K, 1) * (..., 1, K, N)``, summed over K."""
    nodes: list[NodeProto] = []
    left, right, *bias = product.input
    options = {attribute.name: attribute.i for attribute in product.attribute}  # of a Gemm, whose factors are 1 here

    def add(kind: str, inputs: list[str], **attributes: int | list[int]) -> str:
        name = f"{product.name}/{kind}{len(nodes)}"
        nodes.append(toolchain.package("onnx.helper").make_node(kind, inputs, [name], name, **attributes))
        return name

    if options.get("transB"):
        right = add("Transpose", [right], perm=[1, 0])
    rows, columns = add("Unsqueeze", [left, _AXES[-1]]), add("Unsqueeze", [right, _AXES[-3]])
    add("ReduceSum", [add("Mul", [rows, columns]), _AXES[-2]], keepdims=0)
    if bias:
        add("Add", [nodes[-1].output[0], *bias])
    nodes[-1].output[:] = product.output
    return nodes


def _write_half_graph(graph: Path, aside: Path, *, model: Model, on_step: OnStep) -> None:
    full = read_graph(graph)
    golden = golden_examinations(EXAMINATIONS, 0)
    typed = rewrite_in_half(full)
    largest, tensor = largest_activation(full, golden.images, on_step)
    outputs = model.manifest.all_outputs
    runs = _run_both((full, typed), tuple(outputs.values()), golden.images, on_step)
    expected, actual = (dict(zip(outputs, values, strict=True)) for values in runs)
    threshold, distances = model.manifest.threshold, expected.get("distances")
    reference = Reference(expected["probabilities"], golden.labels, threshold, distances)
    compared = compare_outputs(reference, FILE, PRECISION, Inference(**actual))
    if not compared.is_within_tolerance:
        raise ModelError(
            f"in float16 {model.folder} {compared.in_words}: run this model with --backend mnn or onnxruntime"
        )
    rounding = Rounding(
        largest,
        tensor,
        compared.difference,
        compared.flips_at_threshold,
        EXAMINATIONS,
        _relative_difference(expected["cams"], actual["cams"]) if "cams" in outputs else None,
        compared.distance_difference,
    )
    entry = toolchain.package("onnx").StringStringEntryProto(key=_METADATA, value=json.dumps(asdict(rounding)))
    typed.metadata_props.append(entry)
    aside.write_bytes(to_bytes(typed))


def _run_both(
    graphs: tuple[ModelProto, ModelProto], names: tuple[str, ...], images: NDArray[np.float32], on_step: OnStep
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """Outputs of the float32 graph and of the rewritten one, each for the image of its own type."""
    (image,) = graphs[0].graph.input
    session, stepwise = open_session(graphs[0]), Stepwise(graphs[1])

    def run_full(batch: Floats) -> list[Floats]:
        return session.run(list(names), {image.name: batch})

    def run_half(batch: Floats) -> list[Floats]:
        tensors = stepwise.run(batch)
        return [tensors[name] for name in names]

    expected = _run_each(run_full, images, partial(on_step, "float32"))
    actual = _run_each(run_half, images.astype(np.float16), partial(on_step, "float16"))
    return expected, actual


def _relative_difference(expected: NDArray[np.float32], actual: NDArray[np.float32]) -> float:
    """See `Rounding.cam_difference`; ``(N, ...)``. For an output of zeros the difference is absolute."""
    axes = tuple(range(1, expected.ndim))
    largest = np.abs(expected).max(axis=axes)
    return float(np.max(np.abs(actual - expected).max(axis=axes) / np.where(largest > 0, largest, 1)))


def _store_as_float(graph: GraphProto) -> None:
    """Undo `bsbatch_build.export.convert.store_as_half`: weights as float32, no Cast behind them."""
    helper = toolchain.package("onnx.numpy_helper")
    weights = {tensor.name: tensor for tensor in graph.initializer}
    casts = {
        node.output[0]: node.input[0] for node in graph.node if node.op_type == "Cast" and node.input[0] in weights
    }
    for name in casts.values():
        weights[name].CopyFrom(helper.from_array(helper.to_array(weights[name]).astype(np.float32), name))
    nodes = [node for node in graph.node if node.output[0] not in casts]
    for node in nodes:
        node.input[:] = [casts.get(name, name) for name in node.input]
    _replace_nodes(graph, nodes)


def _half_tensors(graph: GraphProto) -> set[str]:
    """Names of the image and of every tensor that `_OPERATORS` compute from it."""
    half = {graph.input[0].name}
    for node in graph.node:
        if _is_half(node, half):
            half.update(node.output)
    return half


def _is_half(node: NodeProto, half: set[str]) -> bool:
    return node.op_type in _OPERATORS and node.input[0] in half


def _round_weights(graph: GraphProto, half: set[str]) -> None:
    read = {name for node in graph.node if _is_half(node, half) for name in node.input}
    for tensor in graph.initializer:
        if tensor.name in read:
            round_to_half(tensor)


def _insert_casts(graph: GraphProto, half: set[str]) -> None:
    """Insert one Cast behind every float16 tensor that a float32 operator reads."""
    nodes: list[NodeProto] = []
    casts: dict[str, str] = {}
    for node in graph.node:
        if not _is_half(node, half):
            for name in (name for name in node.input if name in half and name not in casts):
                nodes.append(cast_to_float(name))
                casts[name] = nodes[-1].output[0]
            node.input[:] = [casts.get(name, name) for name in node.input]
        nodes.append(node)
    _replace_nodes(graph, nodes)


def _replace_nodes(graph: GraphProto, nodes: list[NodeProto]) -> None:
    """Replace the nodes of a graph; the new ones may be its own, so they are copied first."""
    copy = toolchain.package("onnx").NodeProto.FromString
    copies = [copy(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _output_largest_values(graph: GraphProto) -> list[str]:
    """Make the largest absolute value of each convolution the only outputs; return the tensors' names in order."""
    onnx, helper = toolchain.package("onnx"), toolchain.package("onnx.helper")
    half = _half_tensors(graph)
    names = [node.output[0] for node in graph.node if node.op_type == "Conv" and node.output[0] in half]
    del graph.output[:]
    for name in names:
        graph.node.append(helper.make_node("Abs", [name], [f"{name}/Abs"]))
        graph.node.append(helper.make_node("ReduceMax", [f"{name}/Abs"], [f"{name}/Largest"], keepdims=0))
        graph.output.append(helper.make_tensor_value_info(f"{name}/Largest", onnx.TensorProto.FLOAT, ()))
    return names


def _run_each(
    run: Callable[[Floats], list[Floats]], images: Floats, on_step: Callable[[], object]
) -> list[NDArray[np.float32]]:
    """Compute each output for all images, one image at a time: its first activations take 128 MiB."""
    rows = []
    for image in images:
        rows.append(run(image[np.newaxis]))
        on_step()
    return [np.concatenate(values).astype(np.float32, copy=False) for values in zip(*rows, strict=True)]


def _check(model: ModelProto) -> None:
    checker = toolchain.package("onnx.checker")
    try:
        checker.check_model(model, full_check=True)
    except (checker.ValidationError, toolchain.package("onnx.shape_inference").InferenceError) as error:
        raise ModelError(
            f"the graph has no form with convolutions in float16 ({error}): export it with this bsbatch-build"
        ) from error
