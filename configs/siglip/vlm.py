"""A PaliGemma of a SigLIP's image tower and a decoder that has learned to write: stage 1, in small.

  python -m trainers.train --config configs/siglip/vlm.py --workdir workdirs/siglip_vlm
  --config configs/siglip/vlm.py:img=       the same with a tower from scratch, to compare with
  --config configs/siglip/vlm.py:size=tiny_pairs

The tower is that of `make quickstart-siglip`, the decoder that of `digits`. Between them is a
projector from scratch, and the task is to answer Swedish questions about the tower's pictures.
"""
from configs import quickstart
from configs.siglip import quickstart as towers
from configs.transfers.common import arguments


def get_config(arg=None):
  a = arguments(arg, dict(img="workdirs/siglip", size="pairs", steps=400))
  c = quickstart.get_config(a.size)
  c.total_steps = a.steps
  c.model.img = dict(towers.get_config(a.size).model.img, pool="none")
  c.init.update(model="", img=a.img, llm="digits")
  return c
