"""An evaluator type, and ops, in modules of a user's own."""
import sys

import numpy as np
import pytest

from big_vlm.data import mixture
from configs import common as defaults
from evaluators import common
from pp.registry import OPS

METRIC = '''
PERCENT = {"short"}

def score(predictions, tokenizer, most=3):
  for p in predictions:
    p["score"] = float(len(p["prediction"]) <= most)
  return {"short": sum(p["score"] for p in predictions) / len(predictions)}
'''
OP = '''
from pp.registry import OPS

@OPS.register("shout")
def shout(mark="!"):
  return lambda example: {**example, "prefix": example["prefix"].upper() + mark}
'''


@pytest.fixture
def mine(tmp_path, monkeypatch):
  for name, text in (("__init__", ""), ("metrics", METRIC), ("ops", OP), ("empty", "PERCENT = {}")):
    (tmp_path / "mine").mkdir(exist_ok=True)
    (tmp_path / "mine" / f"{name}.py").write_text(text)
  monkeypatch.syspath_prepend(str(tmp_path))
  yield
  OPS.pop("shout", None)
  for name in [n for n in sys.modules if n.partition(".")[0] == "mine"]:
    del sys.modules[name]


def config(tokenizer, type="mine.metrics", **changes):
  examples = [{"image": np.zeros((8, 8, 3), np.uint8), "prefix": "ocr", "suffix": "3"}]
  c = defaults.train(tokenizer=tokenizer, text_len=8, pp_modules=("mine.ops",))
  c.model.img = dict(image_size=16)
  c.evals.own = dict(type=type, data=dict(name="memory", examples=examples), batch_size=1,
                     pp="decode|resize|shout|text_layout(keep=('prefix', 'suffix'))", **changes)
  return c


def test_they_are_named_by_their_modules(mine, tokenizer, mesh1):
  c = config(tokenizer, most=2)
  own, = common.evaluators(c, None, tokenizer, mesh1)
  rows = [{"prediction": "3"}, {"prediction": "three"}]
  assert own.score(rows) == {"own/short": 0.5} and own.in_percent("short")
  assert "shout" in OPS and mixture.context_of(c).text_len == 8


@pytest.mark.parametrize("type,changes,message", [
    ("mine.metric", {}, "'mine.metric' cannot be imported: No module named.*my/metrics.py"),
    ("mine.empty", {}, "'mine.empty' has no score; evaluators/common.py says"),
    ("exact_mach", {}, "Did you mean 'exact_match'"),
    ("mine.metrics", dict(mots=2), "Did you mean 'most'")])
def test_what_is_wrong_with_them_is_said(mine, tokenizer, mesh1, type, changes, message):
  with pytest.raises(ValueError, match=message):
    common.evaluators(config(tokenizer, type, **changes), None, tokenizer, mesh1)


@pytest.mark.parametrize("modules,message", [
    (("mine.opps",), "pp_modules: 'mine.opps' cannot be imported"),
    ("mine.ops", "is a list or tuple of modules, not the string")])
def test_modules_of_ops_that_there_are_not(mine, tokenizer, modules, message):
  c = config(tokenizer)
  with c.unlocked(), c.ignore_type():
    c.pp_modules = modules
  with pytest.raises(ValueError, match=message):
    mixture.context_of(c)
