"""From a Keras model to a model directory with an ONNX graph, and to TensorRT engines."""
