"""Evaluators: run a model over a labelled set, score it, and show the result."""
