"""A small SigLIP learns from scratch which text is of which picture of handwritten digits.

  python -m trainers.train --config configs/siglip/quickstart.py --workdir workdirs/siglip
  --config configs/siglip/quickstart.py:tiny_pairs    the same in seconds, untrained: for tests
"""
from configs import common


def get_config(size="pairs"):
  c = common.train(total_steps=300 if size == "pairs" else 4, log_steps=20,
                   tokenizer=f"sp('data/digits/{size}/1.0.0/tokenizer.model')")
  # A patch is a corner of the 32 x 32 pixels, where a digit may stand.
  c.model.img = dict(variant="tiny", image_size=32, patch=16, width=128, depth=4, heads=4, mlp=512,
                     pool="map", remat="none", unroll=4)
  c.model.txt = dict(variant="text_tiny", vocab_size=480, length=28, pad_token=0, width=128,
                     depth=2, heads=4, mlp=256, out_width=128, remat="none", unroll=2)
  c.loss.name = "sigmoid"
  data = lambda split: dict(name=f"digits/{size}", split=split, data_dir="data")
  c.input.mixture = [dict(data=data("train"), pp="flatten|decode|resize|pair_layout")]
  c.input.batch_size = 256 if size == "pairs" else 16
  c.optimizer.update(name="muon", args=dict(b2=0.98), lr=1e-3, weight_decay=1e-2)
  c.checkpoint_fraction = 0.125  # a kill costs half a minute at most
  c.evals.pairs = dict(
      type="retrieval", data=data("val"), batch_size=250, fraction=0.25,
      pp="flatten|decode|resize|copy('text', 'captions')|keep('image', 'captions', 'id')")
  return c
