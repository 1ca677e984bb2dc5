"""Types of the ONNX protobufs that an export reads and edits; the package ``onnx`` itself loads late.

Each protocol names the members that are used here, under the name of its message in ``onnx``.
"""

from collections.abc import Mapping, MutableSequence, Sequence
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float16 | np.float32]
"""A tensor that flows through a graph."""


class _Message(Protocol):
    def CopyFrom(self, other: Self, /) -> None:  # noqa: N802  # protobuf's name
        """Replace the content by that of another message."""
        ...

    def SerializeToString(self, *, deterministic: bool = False) -> bytes:  # noqa: N802  # protobuf's name
        """Serialise the message."""
        ...


class TensorProto(_Message, Protocol):
    """An initialiser: a weight or a constant."""

    name: str
    dims: Sequence[int]
    data_type: int


class AttributeProto(Protocol):
    """An option of an operator."""

    name: str
    i: int
    """Its value if it is an integer."""


class NodeProto(_Message, Protocol):
    """An operator with the names of the tensors that it reads and writes."""

    name: str
    op_type: str
    input: MutableSequence[str]
    output: MutableSequence[str]
    attribute: Sequence[AttributeProto]


class _TensorType(Protocol):
    elem_type: int


class _TypeProto(Protocol):
    tensor_type: _TensorType


class ValueInfoProto(_Message, Protocol):
    """Name, element type and shape of a tensor."""

    name: str
    type: _TypeProto


class GraphProto(Protocol):
    """Operators in the order of their execution, initialisers, inputs and outputs."""

    name: str
    doc_string: str
    node: MutableSequence[NodeProto]
    initializer: MutableSequence[TensorProto]
    input: MutableSequence[ValueInfoProto]
    output: MutableSequence[ValueInfoProto]
    value_info: MutableSequence[ValueInfoProto]


class _StringPair(Protocol):
    key: str
    value: str


class ModelProto(_Message, Protocol):
    """A graph with its operator set and its metadata."""

    graph: GraphProto
    ir_version: int
    opset_import: MutableSequence[object]
    metadata_props: MutableSequence[_StringPair]


class InferenceSession(Protocol):
    """A graph that ONNX Runtime has loaded."""

    def run(self, outputs: Sequence[str] | None, feeds: Mapping[str, Floats], /) -> list[Floats]:
        """Compute the named outputs, or all of them."""
        ...
