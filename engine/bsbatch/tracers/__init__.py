"""Tracers of nuclear medicine: their names, and the record of one."""
