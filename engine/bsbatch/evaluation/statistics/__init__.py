"""Statistics of scores and labels: calibration, benefit of decisions, sample sizes, and comparisons of two models."""
