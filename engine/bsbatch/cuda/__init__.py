"""Inference on NVIDIA GPUs: devices, TensorRT engines, and batches whose copies and computation overlap."""
