"""Stage 2 of pretraining: 50 million examples at 448 pixels, then 10 million at 896 (:res=896).

  python -m trainers.train --config configs/pretrain/stage2.py:init=W1 --workdir W2
  python -m trainers.train --config configs/pretrain/stage2.py:res=896,init=W2 --workdir W3

init: the workdir of the stage before, or any model at another resolution.
"""
from configs.pretrain import common
from configs.transfers.common import parse

SETTINGS = {448: 50e6, 896: 10e6}  # examples
BEFORE = {448: 1e9, 896: 1e9 + 50e6}


def get_config(arg=None):
  a = parse(arg, res=448, text_len=512, data_dir="data/pretrain", init="")
  c = common.pretrain(a, SETTINGS, BEFORE.get(a.res, 0))
  last = "stage1" if a.res == 448 else "stage2_448"
  c.init.model = a.init or f"workdirs/pretrain/{last}_{a.model}"
  return c
