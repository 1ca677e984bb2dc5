"""An ONNX graph without one of its outputs, cut out of its bytes.

ONNX Runtime computes every output of a graph, whichever are asked for. Cutting needs no more of the format than where a
field begins and ends, so a run needs no package ``onnx``. The numbers of the fields are those of ``onnx.proto3``.
"""

from collections.abc import Iterator, Sequence

from bsbatch.models.onnx.wire import bytes_field, fields, parts

_GRAPH = 7
"""Of a ModelProto."""
_NODE, _INITIALIZER, _OUTPUT = 1, 5, 12
"""Of a GraphProto."""
_NAME = {_NODE: 3, _INITIALIZER: 8, _OUTPUT: 1}
"""Of a NodeProto, a TensorProto, a ValueInfoProto."""


def remove_output(graph: bytes, output: str) -> bytes:
    """Leave out an output, and the nodes and initialisers ``{output}/...`` that serve it alone.

    Parameters
    ----------
    graph
        A serialised ModelProto.
    output
        The name of the output.

    Returns
    -------
    bytes
        A serialised ModelProto; what is left keeps its bytes.
    """
    view = memoryview(graph)
    return b"".join(_model_pieces(view, output.encode()))


def prune_to_outputs(graph: bytes, outputs: Sequence[str], cam_name: str | None) -> bytes:
    """The graph without its map where that is not among the outputs that are wanted."""
    return graph if cam_name is None or cam_name in outputs else remove_output(graph, cam_name)


def _model_pieces(model: memoryview, output: bytes) -> Iterator[memoryview | bytes]:
    for field in fields(model):
        if field.number == _GRAPH:
            yield bytes_field(_GRAPH, _kept(model[field.content : field.end], output))
        else:
            yield model[field.start : field.end]


def _kept(graph: memoryview, output: bytes) -> Iterator[memoryview]:
    for field in fields(graph):
        name = _name(graph[field.content : field.end], field.number)
        if not (name == output or name.startswith(output + b"/")):
            yield graph[field.start : field.end]


def _name(message: memoryview, number: int) -> bytes:
    """The name of a node, initialiser or output; nothing for other fields of a graph."""
    return bytes(next(parts(message, _NAME[number]), b"")) if number in _NAME else b""
