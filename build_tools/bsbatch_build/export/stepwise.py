"""Runs a graph of mixed precision on a CPU so that every tensor is rounded to its own type.

ONNX Runtime has no float16 convolution for x86: it computes neighbouring float16 operators in float32 and rounds only
the outputs of the graph (seen with 1.32, even with all optimisations off), so it would hide a graph that float16 ruins.
Here each node is a graph of its own. Sums inside of an operator stay float32, as on tensor cores.
"""

from bsbatch_build import toolchain
from bsbatch_build.export.convert import to_bytes
from bsbatch_build.export.onnx_types import Floats, InferenceSession, ModelProto, NodeProto

Tensors = dict[str, Floats]


class Stepwise:
    """A graph that is run node by node."""

    def __init__(self, model: ModelProto) -> None:
        """Load every node of a model whose nodes have one output each."""
        inferred = toolchain.package("onnx.shape_inference").infer_shapes(model, strict_mode=True).graph
        declared = [*inferred.input, *inferred.value_info, *inferred.output]
        self._types = {value.name: value for value in declared}
        self._weights = {tensor.name: tensor for tensor in inferred.initializer}
        self._input = inferred.input[0].name
        self._steps = [self._step(model, node) for node in inferred.node]

    def run(self, image: Floats) -> Tensors:
        """Compute every tensor, by its name, for one batch of the graph's input type."""
        tensors: Tensors = {self._input: image}
        for inputs, output, session in self._steps:
            (tensors[output],) = session.run([output], {name: tensors[name] for name in inputs})
        return tensors

    def _step(self, model: ModelProto, node: NodeProto) -> tuple[list[str], str, InferenceSession]:
        """Names of the inputs that are not weights, name of the output, and the loaded node."""
        helper = toolchain.package("onnx.helper")
        inputs = list(dict.fromkeys(name for name in node.input if name not in self._weights))
        weights = [self._weights[name] for name in node.input if name in self._weights]
        (output,) = node.output
        declared = [self._types[name] for name in inputs]
        graph = helper.make_graph([node], output, declared, [self._types[output]], weights)
        alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
        return inputs, output, open_session(alone)


def open_session(model: ModelProto) -> InferenceSession:
    """Load a model into ONNX Runtime on the CPU. Its threads sleep between two runs.

    By default they wait actively for the next run, and the threads of a session for each node keep all processors busy.
    """
    onnxruntime = toolchain.package("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = ["CPUExecutionProvider"]
    session: InferenceSession = onnxruntime.InferenceSession(to_bytes(model), options, providers=providers)
    return session
