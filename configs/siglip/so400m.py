"""Pretrain SigLIP 2's So400m/14 at 224 pixels in batches of 32,768 on 256 chips, TPU v5e:16x16.

  python -m tools.plan --config configs/siglip/so400m.py --topology v5e:16x16

Arguments are those of configs/siglip/pretrain.py.
"""
from configs.siglip import pretrain


def get_config(arg=None):
  c = pretrain.get_config(",".join(filter(None, ("model=siglip2_so400m14_224", arg))))
  c.mesh.data = 2  # so that fsdp is 128 of 256, which divides the width of 1,152
  return c
