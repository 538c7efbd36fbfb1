"""Readers of other tools' annotations, each read(...) -> (pictures, classes), and the writer."""
