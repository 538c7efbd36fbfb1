"""Preprocessing in numpy: pipeline strings, their ops, tokenizers, and boxes as text."""
