"""Split an ONNX graph into its leading chain of convolutions, as arrays, and the graph of the rest.

The chain is like that of VGG: 3 x 3 convolutions, padded by 1, each with a bias and a ReLU, some followed by 2 x 2 max
pooling. Our own code computes the chain and ONNX Runtime the rest. A run does not need the package ``onnx``. Field
numbers are those of ``onnx.proto3``.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bsbatch.models.onnx.wire import bytes_field, fields, integer_field, integers, parts

_GRAPH = 7
_NODE, _INITIALIZER, _INPUT = 1, 5, 11
_FLOAT, _TYPES = 1, {1: "<f4", 10: "<f2"}
"""TensorProto.DataType: FLOAT and FLOAT16."""
_CONVOLUTION = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [1, 1], "dilations": [1, 1], "group": [1]}
_MAXIMA = {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0, 0, 0, 0], "dilations": [1, 1], "ceil_mode": [0]}
_DEFAULTS = {"auto_pad": [], "storage_order": [0]}
_OPERANDS = 3
"""Number of inputs of a convolution with a bias."""
_FEWEST = 2
"""Smallest number of convolutions for which a split is worthwhile."""


class Convolution(NamedTuple):
    """A 3 x 3 convolution, padded by 1, with a bias and a ReLU."""

    kernels: NDArray[np.float32]
    """``(out, in, 3, 3)``"""
    bias: NDArray[np.float32]
    """``(out,)``"""
    is_pooled: bool
    """True if 2 x 2 max pooling comes before the next convolution."""


@dataclass(frozen=True, slots=True)
class SplitGraph:
    """A graph in two parts."""

    trunk: tuple[Convolution, ...]
    head: bytes
    """A serialised ModelProto that takes the last convolution's features; it has the outputs of the whole graph."""
    features: str
    """Name of the head's input, ``(N, channels, rows, columns)``."""


class _Node(NamedTuple):
    kind: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, list[int]]


def split(model: bytes, rows: int, columns: int) -> SplitGraph:
    """Split a graph behind its leading convolutions.

    Parameters
    ----------
    model
        A serialised ModelProto with one input, ``(N, 1, rows, columns)``.

    Raises
    ------
    ValueError
        The graph does not begin with such a chain.
    """
    try:
        graph = next(parts(memoryview(model), _GRAPH))
        return _Graph(graph).split(memoryview(model), rows, columns)
    except (
        ValueError,
        IndexError,
        StopIteration,
        KeyError,
        RuntimeError,
    ) as error:  # RuntimeError: StopIteration in a generator
        raise ValueError("it does not begin with convolutions like those of VGG") from error


class _Graph:
    def __init__(self, graph: memoryview) -> None:
        self._graph = graph
        self._nodes = [_node(content) for content in parts(graph, _NODE)]
        self._tensors = {_text(content, 8): content for content in parts(graph, _INITIALIZER)}
        self._casts = {node.outputs[0]: node for node in self._nodes if node.kind == "Cast"}
        self._users: defaultdict[str, list[_Node]] = defaultdict(list)
        for node in self._nodes:
            for name in node.inputs:
                self._users[name].append(node)

    def split(self, model: memoryview, rows: int, columns: int) -> SplitGraph:
        (image,) = (_text(content, 1) for content in parts(self._graph, _INPUT))
        links = list(self._links(image))
        trunk = tuple(self._convolution(node, is_pooled) for node, _, is_pooled in links)
        if len(trunk) < _FEWEST or trunk[0].kernels.shape[1] != 1:
            raise ValueError
        features, reduction = links[-1][1], 2 ** sum(layer.is_pooled for layer in trunk)
        shape = len(trunk[-1].bias), rows // reduction, columns // reduction
        used = {name for node, _, _ in links for name in node.inputs[1:]}
        used |= {self._casts[name].inputs[0] for name in used if name in self._casts}
        head = b"".join(self._head(model, links, used, _input_field(features, shape)))
        return SplitGraph(trunk, head, features)

    def _links(self, name: str) -> Iterator[tuple[_Node, str, bool]]:
        """Yield each convolution, the name of its ReLU's output, and whether max pooling follows."""
        node = self._next(name, "Conv")
        passed: set[str] = set()
        while node is not None:
            if node.outputs[0] in passed:  # a cycle
                raise ValueError
            passed.add(node.outputs[0])
            relu = self._next(node.outputs[0], "Relu")
            if relu is None:
                raise ValueError
            pool = self._next(relu.outputs[0], "MaxPool")
            following = self._next(pool.outputs[0], "Conv") if pool is not None else None
            yield node, relu.outputs[0], following is not None
            node = following or self._next(relu.outputs[0], "Conv")

    def _next(self, name: str, kind: str) -> _Node | None:
        """Return the only node that uses a tensor if it has the kind and the expected attributes, else None."""
        users = self._users[name]
        if len(users) != 1 or users[0].kind != kind or users[0].inputs[0] != name:
            return None
        expected = {"Conv": _CONVOLUTION, "MaxPool": _MAXIMA}.get(kind, {})
        actual = users[0].attributes
        is_right = all(value == (expected | _DEFAULTS).get(key) for key, value in actual.items())
        return users[0] if is_right and (kind != "MaxPool" or "strides" in actual) else None

    def _convolution(self, node: _Node, is_pooled: bool) -> Convolution:
        if len(node.inputs) != _OPERANDS or node.attributes.get("pads") != _CONVOLUTION["pads"]:
            raise ValueError
        kernels, bias = self._array(node.inputs[1]), self._array(node.inputs[2])
        if kernels.shape != (len(bias), kernels.shape[1], 3, 3):
            raise ValueError
        return Convolution(kernels, bias, is_pooled)

    def _array(self, name: str) -> NDArray[np.float32]:
        cast = self._casts.get(name)
        content = self._tensors[cast.inputs[0] if cast is not None else name]
        shape, (kind,) = integers(content, 1), integers(content, 2)
        values = np.frombuffer(next(parts(content, 9)), _TYPES[kind], math.prod(shape))
        return np.ascontiguousarray(values.reshape(shape), np.float32)

    def _head(
        self, model: memoryview, links: list[tuple[_Node, str, bool]], used: set[str], features: bytes
    ) -> Iterator[memoryview | bytes]:
        for field in fields(model):
            if field.number == _GRAPH:
                yield bytes_field(_GRAPH, self._head_fields(links, used, features))
            else:
                yield model[field.start : field.end]

    def _head_fields(
        self, links: list[tuple[_Node, str, bool]], used: set[str], features: bytes
    ) -> Iterator[memoryview | bytes]:
        computed = used | {name for node, relu, _ in links for name in (*node.outputs, relu)}
        computed |= {user.outputs[0] for _, relu, is_pooled in links if is_pooled for user in self._users[relu]}
        yield features
        for field in fields(self._graph):
            content = self._graph[field.content : field.end]
            is_removed = field.number == _INPUT
            is_removed |= field.number == _INITIALIZER and _text(content, 8) in used
            is_removed |= field.number == _NODE and _node(content).outputs[0] in computed
            if not is_removed:
                yield self._graph[field.start : field.end]


def _node(content: memoryview) -> _Node:
    attributes = {_text(part, 1): integers(part, 8) or integers(part, 3) for part in parts(content, 5)}
    return _Node(_text(content, 4), _texts(content, 1), _texts(content, 2), attributes)


def _text(message: memoryview, number: int) -> str:
    return next(iter(_texts(message, number)), "")


def _texts(message: memoryview, number: int) -> list[str]:
    return [bytes(part).decode() for part in parts(message, number)]


def _input_field(name: str, shape: tuple[int, ...]) -> bytes:
    """Encode an input of a graph: a ValueInfoProto of ``(N, *shape)`` float32."""
    sizes = [bytes_field(1, [bytes_field(2, [b"N"])]), *(bytes_field(1, [integer_field(1, size)]) for size in shape)]
    tensor = bytes_field(1, [integer_field(1, _FLOAT), bytes_field(2, sizes)])
    return bytes_field(_INPUT, [bytes_field(1, [name.encode()]), bytes_field(2, [tensor])])
