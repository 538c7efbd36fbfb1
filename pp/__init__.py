"""Preprocessing in numpy: pipeline strings, their ops, tokenizers, and boxes as text.

`pp.builder.get_preprocess_fn` turns a pipeline string into a function; `python -m pp` lists all
ops.
"""
