"""Preprocessing in numpy: pipeline strings, their ops, tokenizers, and boxes as text.

`python -m pp` lists all ops; `pp.builder.get_preprocess_fn` makes a function of a pipeline.
"""
