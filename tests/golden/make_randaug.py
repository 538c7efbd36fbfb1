"""Writes randaug.npz: an image and what big_vision's RandAugment makes of it, by each of its ops.

  python tests/golden/make_randaug.py BIG_VISION       a checkout of google-research/big_vision

Its code needs tensorflow_addons, which ended with TensorFlow 2.15: Python 3.11, tensorflow-cpu
2.15.1, tensorflow-addons 0.23.0, numpy 1.26.4. This was made from its commit 0127fb6.

Keys are "OP/MAGNITUDE", with a "-" behind it where a coin negates the argument; the centre of
Cutout is at (row 3, column 15).
"""
import pathlib
import sys

import numpy as np
import tensorflow as tf

sys.path.insert(0, sys.argv[1])
from big_vision.pp.archive import autoaugment

MAGNITUDES = (0, 3, 10, 15, 20)  # 10: Solarize's threshold, 256, is 0 as uint8
CENTRE = iter([])

y, x = np.mgrid[:17, :22]
rng = np.random.default_rng(0)
image = np.stack([9 * y + 3 * x, 180 - 5 * y, 11 * x], -1) + rng.integers(-30, 30, (17, 22, 3))
image = np.clip(image, 12, 240).astype(np.uint8)

found = {"image": image}
autoaugment.tf.random_uniform = lambda *args, **kw: tf.constant(next(CENTRE))
for name, function in autoaugment.NAME_TO_FUNC.items():
  for magnitude in MAGNITUDES:
    for sign in ("", "-"):
      autoaugment._randomly_negate_tensor = lambda level, s=sign: -level if s else level
      function, _, args = autoaugment._parse_policy_info(
          name, 1., float(magnitude), [128] * 3, autoaugment.HParams(40, 100))
      CENTRE = iter([3, 15])
      # In a graph, as in its input pipeline: outside of one 256 is no uint8.
      ds = tf.data.Dataset.from_tensors(image).map(lambda i, f=function, a=args: f(i, *a))
      result = next(iter(ds)).numpy()
      if not sign or (result != found[f"{name}/{magnitude}"]).any():
        found[f"{name}/{magnitude}{sign}"] = result
path = pathlib.Path(__file__).with_name("randaug.npz")
np.savez_compressed(path, **{k.replace("/", "|"): v for k, v in found.items()})
