"""Stage 1 of pretraining: a billion examples at 224 pixels, from SigLIP and Gemma; all trains.

  python -m trainers.train --workdir W \\
    --config configs/pretrain/stage1.py:model=paligemma2_3b,data_dir=D
"""
from configs.pretrain import common
from configs.transfers.common import parse

SETTINGS = {224: 1e9}  # examples; a tenth of them costs no task much (2407.07726, section 5.1)


def get_config(arg=None):
  a = parse(arg, text_len=128, data_dir="data/pretrain")
  c = common.pretrain(a, SETTINGS)
  c.init.update(img=common.SIGLIP, llm=common.LLM[a.model])  # the projector starts at 0
  return c
