"""Executors: they run the stages over the units of a run, in this process or elsewhere."""
