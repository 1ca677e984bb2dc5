"""What infers: one file for each engine, found through `bsbatch.registry`."""
