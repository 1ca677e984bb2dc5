"""Executors: the processes that work through the units of a run."""
