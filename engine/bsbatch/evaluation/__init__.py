"""How well the scores of a run agree with labels: `bsbatch evaluate`. Research use only, not for clinical use."""
