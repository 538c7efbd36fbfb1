"""Gemma 1 and 2."""
