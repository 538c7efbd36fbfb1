"""Tuning on a metric or on preferences, with python -m trainers.tune: docs/tune.md."""
