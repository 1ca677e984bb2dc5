"""Changed ONNX graphs, alone and in model directories."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bsbatch.models.directory import GRAPH, MANIFEST, sha256_of
from bsbatch_build.export.convert import to_bytes

Change = Callable[[Any], object]


def write_graph(path: Path, model: Any, change: Change = lambda _: None) -> Path:
    """Write a copy of a graph, changed."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    change(copy.graph)
    path.write_bytes(to_bytes(copy))
    return path


def with_graph(model: Path, folder: Path, change: Change) -> Path:
    """Copy a model directory with a changed graph and a matching manifest."""
    folder.mkdir()
    graph = write_graph(folder / GRAPH, onnx.load(model / GRAPH), change)
    manifest = json.loads((model / MANIFEST).read_text(encoding="utf-8"))
    manifest["files"][GRAPH] = sha256_of(graph)
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def tensor_of(graph: Any, name: str) -> Any:
    """An initialiser."""
    return next(tensor for tensor in graph.initializer if tensor.name == name)


def replace(graph: Any, name: str, values: Any) -> None:
    """Give an initialiser other values."""
    tensor_of(graph, name).CopyFrom(numpy_helper.from_array(values, name))


def store_as_float16(graph: Any) -> None:
    """Store every kernel and bias as float16, each with a Cast to float32 that the operators read."""
    stored = [tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT]
    for tensor in stored:
        name, cast = tensor.name, f"{tensor.name}/Cast"
        for node in graph.node:
            node.input[:] = [cast if read == name else read for read in node.input]
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), name))
        graph.node.insert(0, helper.make_node("Cast", [name], [cast], name=cast, to=TensorProto.FLOAT))
