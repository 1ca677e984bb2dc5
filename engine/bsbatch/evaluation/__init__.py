"""Comparison of a run's scores with labels: `bsbatch evaluate`. Research use only, not for clinical use."""
