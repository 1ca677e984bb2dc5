"""One page about a finished run, for people: what became of every file, scores, figures, heat maps, warnings."""
