"""Quickstart: the model `digits` learns what it does not know, Swedish.

  python -m trainers.train --config configs/quickstart.py --workdir workdirs/quickstart
"""
from configs import common, forkme


def get_config(size="swedish"):
  c = common.train(total_steps=400 if size == "swedish" else 4, log_steps=20, text_len=40)
  c.model.img, c.model.llm, c.tokenizer = forkme.model_of("digits")
  c.init.model = "digits"
  c.input.batch_size = 64
  c.optimizer.lr = 1e-3
  c.checkpoint_fraction = 0.125  # a kill costs a quarter of a minute at most

  # A scene has several questions, with an answer each: training takes any, evaluation the first.
  text = "copy('questions', 'prefix')|copy('answers', 'suffix')|text_layout"
  first = "setdefault('first', 0)|getidx('questions', 'first')|getidx('answers', 'first')"
  data = lambda split: dict(name=f"digits/{size}", split=split, data_dir="data")
  train = lambda pp: dict(data=data("train"), pp=f"flatten|decode|resize|{pp}")
  c.input.mixture = [dict(train(f"choice(key=('questions', 'answers'))|{text}"), weight=3.),
                     dict(train("detect|text_layout"), weight=1.)]  # else it forgets to point
  test = lambda type, pp, *keep: dict(
      type=type, data=data("val"), batch_size=250, fraction=0.5, max_new_tokens=24,
      pp=f"flatten|decode|resize|{pp}(keep={('prefix', 'suffix', 'id', *keep)})")
  c.evals.swedish = test("exact_match", f"{first}|{text}")
  c.evals.detect = test("detection", "detect|text_layout", "objects/bbox", "objects/label")
  return c
