"""The stages of a run, connected: objects to units, units to outcomes."""
