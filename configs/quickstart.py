"""Quickstart: the model `digits` learns what it does not know: to count, name and point at colours.

  python -m trainers.train --config configs/quickstart.py --workdir workdirs/quickstart
"""
from configs import common, forkme

ANSWER = "strfmt('answer en {questions}', outkey='prefix')|copy('answers', 'suffix')|text_layout"
FIRST = "setdefault('first', 0)|getidx('questions', 'first')|getidx('answers', 'first')"


def get_config(size="colours"):
  c = common.train(total_steps=400 if size == "colours" else 4, log_steps=20, text_len=36)
  c.model.img, c.model.llm, c.tokenizer = forkme.model_of("digits")
  c.init.model = "digits"

  data = lambda split: dict(name=f"digits/{size}", split=split, data_dir="data")
  read = "flatten|decode|resize"
  train = lambda task, weight: dict(data=data("train"), pp=f"{read}|{task}", weight=weight)
  c.input.mixture = [train(f"choice(key=('questions', 'answers'))|{ANSWER}", 2.),
                     train("detect|text_layout", 1.)]
  c.input.batch_size = 64
  c.optimizer.lr = 1e-3

  evaluate = lambda type, task, *keep: dict(
      type=type, data=data("val"), pp=f"{read}|{task}(keep={('prefix', 'suffix', 'id', *keep)})",
      batch_size=250, max_new_tokens=18, fraction=0.5)
  c.evals.answer = evaluate("exact_match", f"{FIRST}|{ANSWER}")
  c.evals.detect = evaluate("detection", "detect|text_layout", "objects/bbox", "objects/label")
  return c
