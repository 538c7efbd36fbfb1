"""Devices, FLOPs and memory of a training step: for MFU, tools.plan and out-of-memory errors."""
