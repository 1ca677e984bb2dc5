"""An ONNX graph without one of its outputs, cut out of its bytes.

ONNX Runtime computes every output of a graph, whichever are asked for. Cutting needs no more of the format than where a
field begins and ends, so a run needs no package ``onnx``.

Source: Protocol Buffers, "Encoding"; the numbers of the fields are those of ``onnx.proto3``.
"""

from collections.abc import Iterator
from typing import NamedTuple

_GRAPH = 7
"""Of a ModelProto."""
_NODE, _INITIALIZER, _OUTPUT = 1, 5, 12
"""Of a GraphProto."""
_NAME = {_NODE: 3, _INITIALIZER: 8, _OUTPUT: 1}
"""Of a NodeProto, a TensorProto, a ValueInfoProto."""
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5


class _Field(NamedTuple):
    number: int
    start: int
    """Its first byte."""
    content: int
    """The first byte of what it holds."""
    end: int


def without_output(graph: bytes, output: str) -> bytes:
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


def _model_pieces(model: memoryview, output: bytes) -> Iterator[memoryview | bytes]:
    for field in _fields(model):
        if field.number == _GRAPH:
            kept = list(_kept(model[field.content : field.end], output))
            yield _varint(_GRAPH << 3 | _DELIMITED)
            yield _varint(sum(map(len, kept)))
            yield from kept
        else:
            yield model[field.start : field.end]


def _kept(graph: memoryview, output: bytes) -> Iterator[memoryview]:
    for field in _fields(graph):
        name = _name(graph[field.content : field.end], field.number)
        if not (name == output or name.startswith(output + b"/")):
            yield graph[field.start : field.end]


def _name(message: memoryview, number: int) -> bytes:
    """The name of a node, initialiser or output; nothing for other fields of a graph."""
    if number in _NAME:
        for field in _fields(message):
            if field.number == _NAME[number]:
                return bytes(message[field.content : field.end])
    return b""


def _fields(message: memoryview) -> Iterator[_Field]:
    start = 0
    while start < len(message):
        tag, content = _read_varint(message, start)
        kind = tag & 7
        if kind == _DELIMITED:
            length, content = _read_varint(message, content)
            end = content + length
        elif kind == _VARINT:
            _, end = _read_varint(message, content)
        else:
            end = content + {_FIXED64: 8, _FIXED32: 4}[kind]
        yield _Field(tag >> 3, start, content, end)
        start = end


def _read_varint(message: memoryview, start: int) -> tuple[int, int]:
    """A number of seven bits in each byte, the lowest first, and where it ends."""
    value = shift = 0
    for place in range(start, len(message)):
        value |= (message[place] & 0x7F) << shift
        shift += 7
        if message[place] < 0x80:  # noqa: PLR2004 - the eighth bit says that another byte follows
            return value, place + 1
    raise ValueError("the graph ends within a number: its file is damaged")


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
