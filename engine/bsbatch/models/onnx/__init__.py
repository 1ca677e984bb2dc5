"""ONNX graphs as bytes, without the onnx package: cut at an output, weights read as arrays."""
