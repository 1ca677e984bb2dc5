"""Runs a graph of mixed precision so that every tensor is rounded to its own type, on a CPU.

ONNX Runtime has no float16 convolution for x86: it computes neighbouring float16 operators in float32 and rounds only
what leaves the graph (seen with 1.32, with all optimisations off, too), so a graph that float16 ruins would pass. Here
each node is a graph of its own. Sums inside of an operator stay float32, as on tensor cores.
"""

from typing import Any

from numpy.typing import NDArray

from bsbatch_build import toolchain
from bsbatch_build.export.convert import to_bytes

Tensors = dict[str, NDArray[Any]]


class Stepwise:
    """A graph, ready for one image after the other."""

    def __init__(self, model: Any) -> None:
        """Load every node of an ``onnx.ModelProto`` whose nodes have one output each."""
        inferred = toolchain.package("onnx.shape_inference").infer_shapes(model, strict_mode=True).graph
        declared = [*inferred.input, *inferred.value_info, *inferred.output]
        self._types = {value.name: value for value in declared}
        self._weights = {tensor.name: tensor for tensor in inferred.initializer}
        self._input = inferred.input[0].name
        self._steps = [self._step(model, node) for node in inferred.node]

    def run(self, image: NDArray[Any]) -> Tensors:
        """Every tensor by its name, for one batch of the type that the graph takes."""
        tensors: Tensors = {self._input: image}
        for inputs, output, session in self._steps:
            (tensors[output],) = session.run([output], {name: tensors[name] for name in inputs})
        return tensors

    def _step(self, model: Any, node: Any) -> tuple[list[str], str, Any]:
        helper = toolchain.package("onnx.helper")
        inputs = [name for name in node.input if name not in self._weights]
        weights = [self._weights[name] for name in node.input if name in self._weights]
        (output,) = node.output
        declared = [self._types[name] for name in inputs]
        graph = helper.make_graph([node], output, declared, [self._types[output]], weights)
        alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
        return inputs, output, session(alone)


def session(model: Any) -> Any:
    """Load an ``onnx.ModelProto`` into ONNX Runtime on the CPU."""
    return toolchain.package("onnxruntime").InferenceSession(to_bytes(model), providers=["CPUExecutionProvider"])
