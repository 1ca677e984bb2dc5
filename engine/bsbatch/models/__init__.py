"""Model directories, and files derived from a model's graph."""
