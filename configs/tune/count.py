"""Counting: a number is right or wrong. GRPO takes two updates of the same answers a step.

  python -m trainers.tune --config configs/tune/count.py --workdir workdirs/count
"""
from configs.tune import common

# A scene has several questions, most of them about numbers.
DIGITS = ("setdefault('first', 0)|getidx('questions', 'first', outkey='question')|"
          "getidx('answers', 'first', outkey='answer')|"
          "strfmt('answer en {question}', outkey='prefix')|copy('answer', 'suffix')")


def get_config(arg=None):
  return common.tune(
      arg, "counting", DIGITS, keep=("answer",),
      algorithm="grpo", samples=8, updates=2, clip=0.2, kl=0.01, prompt_len=32, max_new_tokens=6,
      rewards=[dict(name="counting")])
