"""Preferences, DPO: lines {"image", "prefix", "chosen": a better answer, "rejected": a worse one}.

  python -m trainers.tune --config configs/tune/dpo.py:init=W,data=my/pairs.jsonl --workdir V
"""
from configs.tune import common


def get_config(arg=None):
  return common.tune(arg, "", "", keep=("chosen", "rejected"), algorithm="dpo", beta=0.1,
                     prompt_len=32, max_new_tokens=64)
