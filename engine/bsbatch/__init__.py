"""High-throughput batch inference for whole-body bone scintigraphy. Research use only, not for clinical use."""

__version__ = "0.1.0"
