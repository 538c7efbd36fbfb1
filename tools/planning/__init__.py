"""Compiles a training step for a device that need not be here, and reports its time and memory."""
