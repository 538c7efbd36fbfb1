"""TFDS builders that need no TensorFlow; prepare one with `python -m big_vlm.datasets.prepare NAME`."""
