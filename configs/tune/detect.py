"""Detection by what it is judged by: boxes that match, at IoU 0.5 to 0.95.

  python -m trainers.tune --config configs/tune/detect.py --workdir workdirs/detect
"""
from configs.tune import common

QUESTIONS = ("choice(key=('questions', 'answers'))|"
             "strfmt('answer en {questions}', outkey='prefix')|copy('answers', 'suffix')")


def get_config(arg=None):
  return common.tune(
      arg, "detection", "detect", keep=("objects/bbox", "objects/label"), beside=QUESTIONS,
      steps=2000, algorithm="reinforce", samples=8, prompt_len=16, max_new_tokens=24,
      rewards=[dict(name="detection")])
