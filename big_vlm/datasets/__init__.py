"""TFDS builders without TensorFlow; `python -m big_vlm.datasets.prepare NAME` runs one."""
