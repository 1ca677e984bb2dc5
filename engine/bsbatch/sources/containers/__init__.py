"""Containers as sources: zip, tar, compressed tar, and single compressed objects. Nothing is ever unpacked by name."""
