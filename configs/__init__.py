"""Configs hold data only: what is special about a task; the rest is in common.py."""
