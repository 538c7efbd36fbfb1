"""Pretrain SigLIP from scratch on pairs of an image and a text, as SigLIP 2's first objective.

  python -m trainers.train --config configs/siglip/pretrain.py:data=pairs/*.jsonl --workdir W

Arguments are those of configs/siglip/common.py, and

  data, val    lines {"image": "1.jpg", "text": "a cat"}, where the text may be a list, or the name
               of a TFDS data set with such features; val= without a value: no evaluation

Published (arXiv 2303.15343, section 4.6; 2502.14786, section 2) are 40 billion examples in batches
of 32,768, Adam with a rate of 1e-3, a decoupled decay of 1e-4, which is a tenth of the rate, b2 of
0.95, 20,000 steps of warm-up and a cosine.
"""
from configs.siglip import common


def get_config(arg=None):
  a = common.parse(arg, data="pairs/train-*.jsonl", val="pairs/val.jsonl")
  c = common.two_towers(a, total_examples=40e9, checkpoint_steps=5000)
  c.input.mixture = [dict(data=common.source(a, a.data), pp=common.pp(a, "draw"))]
  c.input.update(batch_size=32_768, workers=8, on_error="skip")
  c.optimizer.update(
      name="adamw", args=dict(b2=0.95), lr=1e-3, weight_decay=0.1,
      schedule=((".*", dict(decay="cosine", warmup_steps=20_000)),))
  if a.val:
    c.evals.val = common.loss(c, common.source(a, a.val, "val"), common.pp(a, "first"), steps=5000)
  return c
