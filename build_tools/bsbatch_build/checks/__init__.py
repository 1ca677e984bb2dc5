"""Comparison of exported models and of every backend with Keras."""
