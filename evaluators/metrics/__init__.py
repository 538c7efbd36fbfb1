"""Metrics as plain functions: strings, boxes and masks in, numbers out; no JAX."""
