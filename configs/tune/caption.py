"""Captions by CIDEr (self-critical, arXiv 1612.00563, with the other answers as the baseline).

  python -m trainers.tune --config configs/tune/caption.py --workdir workdirs/caption
"""
from configs.tune import common


def get_config(arg=None):
  return common.tune(
      arg, "caption", "strfmt('caption de', outkey='prefix')|copy('captions/de', 'suffix')",
      algorithm="reinforce", samples=5, kl=0.01, prompt_len=16, max_new_tokens=24,
      rewards=[dict(name="caption")])
