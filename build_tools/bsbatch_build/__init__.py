"""Makes what the engine runs: phantoms to develop on, and models."""
