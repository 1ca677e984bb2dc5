"""Cohorts out of finished runs: label tables joined with results, selections."""
