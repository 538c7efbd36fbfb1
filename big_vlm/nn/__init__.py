"""Layers, attention, kernels and the KV cache that all families share."""
