"""The graph that TensorRT compiles: strongly typed, convolutions in float16, the head in float32.

TensorRT 11 has no flag for float16 any more: what is computed in which precision stands in the graph. Everything from
the image to the last pooling becomes float16; average, head, softmax and whatever else looks at the activations reads
them through a Cast to float32. The image is float16, as the engine feeds it.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bsbatch.errors import ModelError
from bsbatch.models.derived import Derivation, derive_file
from bsbatch.models.directory import HALF_GRAPH, Model
from bsbatch_build import toolchain
from bsbatch_build.checks.golden import golden_examinations
from bsbatch_build.checks.verify import Reference, held_against
from bsbatch_build.export.convert import cast_to_float, round_to_half, to_bytes
from bsbatch_build.export.stepwise import Stepwise, session

FILE = HALF_GRAPH
VERSION = 2
"""Goes up whenever the same graph would be rewritten into another one, or be held to other tolerances."""
PRECISION = "fp16"
LARGEST = 65_504.0
"""Largest finite float16."""
EXAMINATIONS = 16
"""Golden examinations that activations are looked at on."""
STEPS = 3 * EXAMINATIONS
"""How often `half_graph` tells of an examination, where it makes the graph."""
_OPERATORS = frozenset({"Conv", "Relu", "MaxPool"})
"""Computed in float16 where they read float16; the ReLU of the head does not."""
_METADATA = "bsbatch.fp16"
_PRODUCTS = frozenset({"MatMul", "Gemm"})
_AXES = {axis: f"sums/axis{axis}" for axis in (-3, -2, -1)}
"""Names of the constants that say which."""

OnStep = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Rounding:
    """What float16 does to a model, on golden examinations."""

    largest: float
    """Largest absolute value of what float16 has to hold; 65,504 is the most."""
    tensor: str
    """Where that is."""
    difference: float
    """Largest absolute difference of a probability to float32."""
    flips_at_threshold: int
    """Labels that differ, of examinations within the tolerance of the threshold."""
    examinations: int
    cam_difference: float | None
    """Largest absolute difference of a map to float32, as a share of that map's largest value; None without maps."""


@dataclass(frozen=True, slots=True)
class HalfGraph:
    """A strongly typed graph that was held against the one it was made of."""

    path: Path
    rounding: Rounding


def half_graph(model: Model, on_step: OnStep = lambda _: None) -> HalfGraph:
    """Rewrite a model's graph once and keep it as ``model.fp16.onnx``, see `bsbatch.models.derived`.

    Parameters
    ----------
    model
        What is rewritten; its threshold decides what is a flip.
    on_step
        Told of every examination that was made or scored, and by whom.

    Raises
    ------
    ModelError
        A weight or an activation is beyond float16, or a probability differs by more than 5e-3 or flips a label.
    """
    maker = f"bsbatch-fp16 {VERSION} for threshold {model.manifest.threshold:g}"
    path = derive_file(model, Derivation(FILE, maker, partial(_make, model=model, on_step=on_step)))
    (content,) = (entry.value for entry in read_graph(path).metadata_props if entry.key == _METADATA)
    return HalfGraph(path, Rounding(**json.loads(content)))


def strongly_typed(model: Any) -> Any:
    """Rewrite a float32 graph: convolutions, their ReLU and pooling in float16, everything behind them in float32.

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
        A weight is beyond float16, or what comes out is not valid ONNX.
    """
    typed = toolchain.package("onnx").ModelProto()
    typed.CopyFrom(model)
    _store_as_float(typed.graph)
    half = _half_tensors(typed.graph)
    _round_weights(typed.graph, half)
    _cast_what_leaves(typed.graph, half)
    typed.graph.input[0].type.tensor_type.elem_type = toolchain.package("onnx").TensorProto.FLOAT16
    _check(typed)
    return typed


def largest_activation(model: Any, images: NDArray[np.float32], on_step: OnStep = lambda _: None) -> tuple[float, str]:
    """Look for the largest absolute value that float16 has to hold, in float32.

    Parameters
    ----------
    model
        The float32 graph.
    images
        ``(N, 1, 512, 512)`` in [0, 1].
    on_step
        Told of every image.

    Returns
    -------
    The value, and the tensor that holds it: the output of a convolution, before its ReLU.

    Raises
    ------
    ModelError
        The value is beyond the 65,504 of float16, or is no number.
    """
    probed = toolchain.package("onnx").ModelProto()
    probed.CopyFrom(model)
    names = _probe(probed.graph)
    loaded = session(probed)
    found = np.zeros(len(names))
    for image in images:
        found = np.maximum(found, loaded.run(None, {probed.graph.input[0].name: image[np.newaxis]}))
        on_step("activations")
    worst = int(np.argmax(found))  # the first that is no number, where there is one
    if not found[worst] <= LARGEST:
        raise ModelError(
            f"the activation {names[worst]} reaches {found[worst]:,.0f} on golden examinations, float16 ends at "
            f"{LARGEST:,.0f}: run this model with --backend mnn or onnxruntime, or train it with smaller weights"
        )
    return float(found[worst]), names[worst]


def read_graph(path: Path) -> Any:
    """Read an ONNX file.

    Raises
    ------
    ModelError
        It is none.
    """
    try:
        return toolchain.package("onnx").load(path)
    except toolchain.package("google.protobuf.message").DecodeError as error:
        raise ModelError(f"{path} is no ONNX graph: export the model again with bsbatch-build export") from error


def products_as_sums(model: Any) -> Any:
    """Write every matrix product as a sum of products of numbers, which all architectures know.

    Parameters
    ----------
    model
        See `strongly_typed`; the head's products are small.

    Returns
    -------
    onnx.ModelProto
        The same function, in another order of additions.
    """
    summed = toolchain.package("onnx").ModelProto()
    summed.CopyFrom(model)
    nodes = [new for node in summed.graph.node for new in (_as_sum(node) if node.op_type in _PRODUCTS else [node])]
    _replace_nodes(summed.graph, nodes)
    helper = toolchain.package("onnx.numpy_helper")
    summed.graph.initializer.extend(helper.from_array(np.array([axis]), name) for axis, name in _AXES.items())
    _check(summed)
    return summed


def _as_sum(product: Any) -> list[Any]:
    """``(..., M, K)`` and ``(..., K, N)`` to ``(..., M, K, 1)`` times ``(..., 1, K, N)``, added up over K."""
    nodes: list[Any] = []
    left, right, *bias = product.input
    options = {attribute.name: attribute.i for attribute in product.attribute}  # of a Gemm, whose factors are 1 here

    def add(kind: str, inputs: list[str], **attributes: Any) -> str:
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


def _make(graph: Path, aside: Path, *, model: Model, on_step: OnStep) -> None:
    full = read_graph(graph)
    golden = golden_examinations(EXAMINATIONS, 0)
    typed = strongly_typed(full)
    largest, tensor = largest_activation(full, golden.images, on_step)
    names = model.manifest.outputs(with_cams=model.manifest.cam_name is not None)
    (expected, *maps), (actual, *half_maps) = _both((full, typed), names, golden.images, on_step)
    parity = held_against(Reference(expected, golden.labels, model.manifest.threshold), FILE, PRECISION, actual)
    if not parity.holds:
        raise ModelError(
            f"in float16 a probability of {model.folder} changes by {parity.difference:.2g} ({parity.tolerance:g} "
            f"passes) and {parity.flips} labels flip: run this model with --backend mnn or onnxruntime"
        )
    share = _share(maps[0], half_maps[0]) if maps else None
    rounding = Rounding(largest, tensor, parity.difference, parity.flips_at_threshold, EXAMINATIONS, share)
    entry = typed.metadata_props.add()
    entry.key, entry.value = _METADATA, json.dumps(asdict(rounding))
    aside.write_bytes(to_bytes(typed))


def _both(
    graphs: tuple[Any, Any], names: tuple[str, ...], images: NDArray[np.float32], on_step: OnStep
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """Outputs of the float32 graph and of the rewritten one, each for the image of its own type."""
    (image,) = graphs[0].graph.input
    loaded, stepwise = session(graphs[0]), Stepwise(graphs[1])
    expected = _scored(lambda batch: loaded.run(list(names), {image.name: batch}), images, partial(on_step, "float32"))

    def run_half(batch: NDArray[Any]) -> list[NDArray[Any]]:
        tensors = stepwise.run(batch)
        return [tensors[name] for name in names]

    actual = _scored(run_half, images.astype(np.float16), partial(on_step, "float16"))
    return expected, actual


def _share(expected: NDArray[np.float32], actual: NDArray[np.float32]) -> float:
    """See `Rounding.cam_difference`; ``(N, 32, 32)``. A map of zeros counts absolutely."""
    largest = np.abs(expected).max(axis=(1, 2))
    return float(np.max(np.abs(actual - expected).max(axis=(1, 2)) / np.where(largest > 0, largest, 1)))


def _store_as_float(graph: Any) -> None:
    """Take back `bsbatch_build.export.convert.stored_as_half`: weights as float32, no Cast behind them."""
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


def _half_tensors(graph: Any) -> set[str]:
    """The image, and whatever `_OPERATORS` make of it."""
    half = {graph.input[0].name}
    for node in graph.node:
        if _is_half(node, half):
            half.update(node.output)
    return half


def _is_half(node: Any, half: set[str]) -> bool:
    return node.op_type in _OPERATORS and node.input[0] in half


def _round_weights(graph: Any, half: set[str]) -> None:
    read = {name for node in graph.node if _is_half(node, half) for name in node.input}
    for tensor in graph.initializer:
        if tensor.name in read:
            round_to_half(tensor)


def _cast_what_leaves(graph: Any, half: set[str]) -> None:
    """Put one Cast behind every float16 tensor that a float32 operator reads."""
    nodes: list[Any] = []
    casts: dict[str, str] = {}
    for node in graph.node:
        if not _is_half(node, half):
            for name in (name for name in node.input if name in half and name not in casts):
                nodes.append(cast_to_float(name))
                casts[name] = nodes[-1].output[0]
            node.input[:] = [casts.get(name, name) for name in node.input]
        nodes.append(node)
    _replace_nodes(graph, nodes)


def _replace_nodes(graph: Any, nodes: list[Any]) -> None:
    """Give the graph these nodes; they may be its own, so they are copied first."""
    kept = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)


def _probe(graph: Any) -> list[str]:
    """Make the largest absolute value of each convolution the graph's only outputs; their names, in order."""
    onnx, helper = toolchain.package("onnx"), toolchain.package("onnx.helper")
    half = _half_tensors(graph)
    names = [node.output[0] for node in graph.node if node.op_type == "Conv" and node.output[0] in half]
    del graph.output[:]
    for name in names:
        graph.node.append(helper.make_node("Abs", [name], [f"{name}/Abs"]))
        graph.node.append(helper.make_node("ReduceMax", [f"{name}/Abs"], [f"{name}/Largest"], keepdims=0))
        graph.output.append(helper.make_tensor_value_info(f"{name}/Largest", onnx.TensorProto.FLOAT, ()))
    return names


def _scored(
    run: Callable[[NDArray[Any]], Any], images: NDArray[Any], on_step: Callable[[], object]
) -> list[NDArray[np.float32]]:
    """Score one image at a time, for the first activations of each take 128 MiB; each output for all images."""
    rows = []
    for image in images:
        rows.append(run(image[np.newaxis]))
        on_step()
    return [np.concatenate(values) for values in zip(*rows, strict=True)]


def _check(model: Any) -> None:
    checker = toolchain.package("onnx.checker")
    try:
        checker.check_model(model, full_check=True)
    except (checker.ValidationError, toolchain.package("onnx.shape_inference").InferenceError) as error:
        raise ModelError(
            f"the graph has no form with convolutions in float16 ({error}): export it with this bsbatch-build"
        ) from error
