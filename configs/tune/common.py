"""What the configs of this folder share. Each begins from a model that has learned its task:

  --config configs/tune/detect.py:init=W,data=my/train.jsonl,val=my/val.jsonl

Arguments

  init      what big_vlm.from_preset takes: a workdir of trainers.train, a preset
  data, val as of configs/forkme.py; without data= the scenes of `digits`
  data_dir  folder of the data set `digits`, or the one that paths in the lines are relative to
  size      of that data set: small, tiny or swedish
  steps     of tuning
  lora      rank of adapters, which alone train then

The fields of config.tune are in big_vlm/training/policy.py.
"""
import dataclasses

from ml_collections import config_dict

from big_vlm import presets
from big_vlm.training import defaults, policy
from configs import common, forkme
from configs.transfers import common as transfers

KEPT = ("prefix", "suffix", "id")
SLOWER = 10  # than learning given answers: a tenth of its learning rate
FIELDS = {field.name: field.default for field in dataclasses.fields(policy.Settings)}


def tune(arg, type, digits, *, keep=(), beside="", steps=300, **fields):
  """The config of a tuning whose evals are of an evaluator type.

  digits: pp that writes "prefix" and "suffix" of a scene of the data set `digits`; "": there is
  none. beside: pp of another task of these scenes, a quarter of the prompts, whose answers are
  right or wrong: else the model forgets it. keep: keys of the example that rewards and evals read.
  fields: of config.tune.
  """
  a = transfers.arguments(arg, dict(init="digits", data="", val="", data_dir="", size="small",
                                    steps=steps, lora=0))
  if not (a.data or digits):
    a.data = "my/pairs.jsonl"
  # All of config.tune, so that --config.tune.kl=0.1 sets what a config leaves out.
  fields = FIELDS | {"kl": config_dict.placeholder(float)} | fields
  c = common.train(total_steps=a.steps, tune=fields, log_steps=10, checkpoint_steps=50)
  c.init.model = a.init
  c.model.img, c.model.llm, c.tokenizer = forkme.model_of(a.init)
  c.lora.rank = a.lora
  prompt, new = (c.tune.get_oneway_ref(name) for name in ("prompt_len", "max_new_tokens"))
  c.text_len = prompt + new  # whatever the command line makes of them
  c.loss.loss_normalization = "sequence"
  c.input.batch_size = 32  # prompts
  size = presets.parameters({"img": dict(c.model.img) or None, "llm": dict(c.model.llm)})
  c.optimizer.lr = defaults.learning_rate(size, adapters=bool(a.lora)).value / SLOWER
  c.optimizer.schedule = ((".*", dict(decay="cosine", warmup_fraction=0.05)),)

  if a.data:
    data = lambda path: forkme.data_of(path, root=a.data_dir)
    image = "|decode(exif=True)|resize(antialias=True)" if c.model.img else ""
    pp, train, val, beside = f"flatten{image}", a.data, a.val, ""
  else:
    data = lambda split: dict(name=f"digits/{a.size}", split=split, data_dir=a.data_dir or "data")
    pp, train, val = "flatten|decode|resize", "train", "val"
  written = lambda task: f"{pp}{'|' * bool(task)}{task}|text_layout(keep={KEPT + tuple(keep)})"
  asked = written("" if a.data else digits)
  c.input.mixture = [dict(data=data(train), pp=asked, weight=3.)]
  if beside:
    c.input.mixture += [dict(data=data(train), pp=written(beside), weight=1.)]
    c.tune.rewards = (*c.tune.rewards, dict(name="exact_match"))
  if val and type:
    c.evals.val = dict(type=type, data=data(val), pp=asked, batch_size=256, fraction=0.2,
                       at_start=True, prompt_len=prompt, max_new_tokens=new)
  return c
