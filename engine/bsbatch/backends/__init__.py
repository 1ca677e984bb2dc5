"""Inference backends: one module for each runtime, selected by name in `bsbatch.backends.registry`."""
