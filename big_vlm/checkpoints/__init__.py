"""Checkpoints of any format: opened, fitted to a model, written, fetched by URI."""
