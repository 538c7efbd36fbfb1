"""Suites: evals of several tasks for one checkpoint; nothing is trained."""
