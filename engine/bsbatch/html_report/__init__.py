"""One HTML page about a run: flow of files, scores, evaluation, heat maps, warnings."""
