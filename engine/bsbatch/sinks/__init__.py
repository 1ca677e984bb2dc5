"""Outputs of executed units: Parquet tables and overlay images."""
