"""Checkpoints: our own through Orbax (native.py)."""
