"""Check a serialised ONNX graph before any runtime loads it: its inputs, its outputs, and no cycle among its nodes.

Field numbers are those of ``onnx.proto3``.
"""

from collections import Counter, deque
from collections.abc import Collection, Iterable
from typing import NamedTuple

from bsbatch.models.onnx.wire import parts

_GRAPH = 7
_NODE, _INITIALIZER, _INPUT, _OUTPUT, _SPARSE_INITIALIZER = 1, 5, 11, 12, 15
_NODE_INPUT, _NODE_OUTPUT = 1, 2
_VALUE_NAME, _TENSOR_NAME, _SPARSE_VALUES = 1, 8, 1
"""Field numbers of the name in a ValueInfoProto and a TensorProto, and of the values in a SparseTensorProto."""
_SHOWN = 60
"""Characters of a name in a message, at most."""


class _Node(NamedTuple):
    inputs: list[str]
    outputs: list[str]


def find_fault(model: bytes, image: str, outputs: Collection[str]) -> str | None:
    """Return the fault of a graph in words; None if it has none, or if the bytes hold no graph, which a runtime says.

    Parameters
    ----------
    model
        A serialised ModelProto.
    image
        Name of the only input.
    outputs
        Names of outputs that it must have.
    """
    try:
        graph = next(parts(memoryview(model), _GRAPH))
        nodes = [_Node(_texts(node, _NODE_INPUT), _texts(node, _NODE_OUTPUT)) for node in parts(graph, _NODE)]
        inputs, found = (_names(graph, number, _VALUE_NAME) for number in (_INPUT, _OUTPUT))
        weights = _names(graph, _INITIALIZER, _TENSOR_NAME)
        weights |= {
            name for item in parts(graph, _SPARSE_INITIALIZER) for name in _names(item, _SPARSE_VALUES, _TENSOR_NAME)
        }
    except (ValueError, IndexError, StopIteration, RuntimeError):  # RuntimeError: StopIteration in a generator
        return None
    if image not in inputs:
        return f"it has no input {image[:_SHOWN]!r}, which the manifest names"
    others = sorted(inputs - weights - {image})
    if others:
        return f"it needs the further input {others[0][:_SHOWN]!r}"
    absent = [name for name in outputs if name not in found]
    if absent:
        return f"it has no output {absent[0][:_SHOWN]!r}, which the manifest names"
    return "its nodes form a cycle" if _has_cycle(nodes) else None


def _has_cycle(nodes: Iterable[_Node]) -> bool:
    """Compute nodes whose inputs are there until none is left; those that wait for one another stay."""
    waiting = list(nodes)
    makers = {name: index for index, node in enumerate(waiting) for name in node.outputs if name}
    users: dict[int, list[int]] = {}
    missing = Counter[int]()
    for index, node in enumerate(waiting):
        for maker in {makers[name] for name in node.inputs if name in makers}:
            users.setdefault(maker, []).append(index)
            missing[index] += 1
    ready = deque(index for index in range(len(waiting)) if not missing[index])
    done = 0
    while ready:
        done += 1
        for user in users.get(ready.popleft(), ()):
            missing[user] -= 1
            if not missing[user]:
                ready.append(user)
    return done < len(waiting)


def _names(message: memoryview, number: int, name: int) -> set[str]:
    return {text for part in parts(message, number) for text in _texts(part, name)}


def _texts(message: memoryview, number: int) -> list[str]:
    return [bytes(part).decode() for part in parts(message, number)]
