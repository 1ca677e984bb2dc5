"""Remove an output from a serialised ONNX graph.

ONNX Runtime computes every output of a graph, even if only some are requested. Removing one takes only the byte ranges
of the fields, so a run does not need the package ``onnx``. Field numbers are those of ``onnx.proto3``.
"""

from collections.abc import Collection, Iterator

from bsbatch.models.onnx.wire import bytes_field, fields, parts

_GRAPH = 7
"""Field number in a ModelProto."""
_NODE, _INITIALIZER, _OUTPUT = 1, 5, 12
"""Field numbers in a GraphProto."""
_NAME = {_NODE: 3, _INITIALIZER: 8, _OUTPUT: 1}
"""Field numbers of the name in a NodeProto, a TensorProto and a ValueInfoProto."""


def remove_output(graph: bytes, output: str) -> bytes:
    """Return a graph without an output and without its nodes and initialisers, named ``{output}/...``.

    Parameters
    ----------
    graph
        A serialised ModelProto.
    output
        The name of the output.

    Returns
    -------
    bytes
        A serialised ModelProto; the remaining fields keep their bytes.
    """
    view = memoryview(graph)
    return b"".join(_model_pieces(view, output.encode()))


def prune_to_outputs(graph: bytes, outputs: Collection[str], cam_name: str | None) -> bytes:
    """Return the graph without its heat map output, unless that is among the requested outputs."""
    return graph if cam_name is None or cam_name in outputs else remove_output(graph, cam_name)


def _model_pieces(model: memoryview, output: bytes) -> Iterator[memoryview | bytes]:
    for field in fields(model):
        if field.number == _GRAPH:
            yield bytes_field(_GRAPH, _remaining_fields(model[field.content : field.end], output))
        else:
            yield model[field.start : field.end]


def _remaining_fields(graph: memoryview, output: bytes) -> Iterator[memoryview]:
    for field in fields(graph):
        name = _name(graph[field.content : field.end], field.number)
        if not (name == output or name.startswith(output + b"/")):
            yield graph[field.start : field.end]


def _name(message: memoryview, number: int) -> bytes:
    """Return the name of a node, initialiser or output; empty for other fields of a graph."""
    return bytes(next(parts(message, _NAME[number]), b"")) if number in _NAME else b""
