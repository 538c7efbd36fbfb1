"""Pretrain SigLIP 2's So400m/14 at 224 pixels in batches of 32,768 on 256 chips, TPU v5e:16x16.

  python -m tools.plan --config configs/siglip/so400m.py --topology v5e:16x16

Arguments are those of configs/siglip/pretrain.py.
"""
from configs.siglip import pretrain


def get_config(arg=None):
  c = pretrain.get_config(",".join(filter(None, ("model=siglip2_so400m14_224", arg))))
  # 128 divides the width of 1,152, 256 does not. The step fits without gradient accumulation.
  c.mesh.data = 2
  c.model.img.remat = c.model.txt.remat = "save_attn"
  return c
