"""LiT (arXiv 2111.07991) with the sigmoid loss: a text tower for a frozen image tower, from COCO
captions (Karpathy's splits).

  python -m trainers.train --config configs/siglip/lit_coco.py --workdir workdirs/lit

Arguments are those of configs/siglip/common.py, and

  init         the image tower: what big_vlm.from_preset takes; a SigLIP, a PaliGemma, one tower.
               What it lacks, such as a PaliGemma's pooling head, has to be trained

The recipe is that of big_vision's siglip_lit_coco: 5,000 steps of 512 pairs, a text of 16 tokens, a
bias of -2.71 at the start, a decay of ten times the rate. Its image tower was AugReg's and its text
tower began as BERT; these are SigLIP's, and the text tower begins at random. Its images were also
flipped and augmented.
"""
from configs.siglip import common


def get_config(arg=None):
  a = common.parse(arg, model="siglip2_b16_224", init="", length=16, text="captions")
  c = common.two_towers(a, total_steps=5000, checkpoint_steps=1000)
  c.model.txt.bias_init = -2.71
  c.init.img = a.init or a.model
  data = lambda split: common.source(a, "cococap", split)
  image = "decode|resize"
  c.input.mixture = [dict(data=data("train+restval"), pp=common.pp(a, "draw", image))]
  c.input.batch_size = 512
  c.optimizer.update(
      name="adamw", lr=1e-3, weight_decay=10.,
      schedule=(("img/.*", None), (".*", dict(decay="cosine", warmup_steps=150))))
  c.evals.val = common.loss(c, data("val"), common.pp(a, "first", image), steps=1000)
  return c
