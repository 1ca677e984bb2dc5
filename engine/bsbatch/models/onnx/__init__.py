"""Edit serialised ONNX graphs without the package onnx: remove an output, read weights as arrays."""
