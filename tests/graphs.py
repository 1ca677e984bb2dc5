"""Changes of ONNX graphs that keep their function."""

from onnx import ModelProto, TensorProto, helper, numpy_helper


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
