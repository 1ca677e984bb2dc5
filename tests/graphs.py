"""Small ONNX graphs, and changes of graphs that keep their function."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from bsbatch.imaging.preprocess import VERSION
from bsbatch.models.directory import DISTANCE, GRAPH, Manifest, read_manifest, sha256_of, write_manifest
from bsbatch_build.export.distance import Moments, add_distance

Values = Mapping[str, Sequence[int | str]]
"""Name -> shape of inputs or outputs of a graph."""
SOFTMAX = (
    helper.make_node("AveragePool", ["image"], ["means"], kernel_shape=[256, 512], strides=[256, 512]),
    helper.make_node("Flatten", ["means"], ["halves"]),
    helper.make_node("Softmax", ["halves"], ["probabilities"]),
)
"""Nodes of a quick model: the softmax of the means of the upper and the lower half of the image."""


def graph_of(nodes: Sequence[NodeProto], inputs: Values | None = None, outputs: Values | None = None) -> bytes:
    """Serialise a model with an image as its input and probabilities as its output, unless others are named."""
    values = inputs or {"image": ["N", 1, 512, 512]}, outputs or {"probabilities": ["N", 2]}
    infos = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in part.items()]
        for part in values
    ]
    graph = helper.make_graph(nodes, "graph", infos[0], infos[1])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def write_model(folder: Path, graph: bytes, **manifest: Any) -> Path:
    """Write a model directory."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / GRAPH).write_bytes(graph)
    files = {GRAPH: sha256_of(folder / GRAPH)}
    write_manifest(folder, Manifest(**{"files": files, "preprocessing_version": VERSION, "name": "small", **manifest}))
    return folder


def give_distance(folder: Path, channels: int, limit: float) -> None:
    """Add a distance of the features from 0, in hundredths, to graph and manifest of a model directory, in place."""
    graph = onnx.load(folder / GRAPH)
    add_distance(graph, Moments(1.0, np.zeros(channels, np.float32), 100 * np.eye(channels, dtype=np.float32)))
    onnx.save(graph, folder / GRAPH)
    files = {GRAPH: sha256_of(folder / GRAPH)}
    manifest = replace(read_manifest(folder), files=files, distance_name=DISTANCE, distance_limit=limit)
    write_manifest(folder, manifest)


def with_float16_weights(graph: ModelProto) -> ModelProto:
    """Store the weights of a graph as float16, each followed by a Cast to float32."""
    casts = []
    for tensor in [tensor for tensor in graph.graph.initializer if tensor.data_type == TensorProto.FLOAT]:
        half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype("f2"), f"{tensor.name}/half")
        casts.append(helper.make_node("Cast", [half.name], [tensor.name], to=TensorProto.FLOAT))
        graph.graph.initializer.remove(tensor)
        graph.graph.initializer.append(half)
    nodes = [*casts, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    return graph
