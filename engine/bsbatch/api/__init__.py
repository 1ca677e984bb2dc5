"""The public Python API behind the names of ``bsbatch``."""
