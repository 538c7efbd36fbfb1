"""Suites gather evals of transfers into a config that trains nothing."""
import importlib

from configs import common
from configs.transfers import common as transfers


def suite(a, name, tasks, published=None):
  """A config with evals of transfers and their published scores.

  name: of the models, with {} for the resolution. tasks: {set: transfer} or {"set/alias":
  transfer}, of which all evals that begin so are taken. published: {metric: score}; by default
  those of the transfers.
  """
  c = common.train(tokenizer=transfers.TOKENIZER, text_len=a.text_len)
  decoder, _ = transfers.MODELS[a.model]
  c.init.model = name.format(a.res)
  c.model.update(img=dict(variant="So400m/14", image_size=a.res), llm=dict(decoder))
  for prefix, task in tasks.items():
    data = f",data_dir={a.data_dir}" if a.data_dir else ""
    of = importlib.import_module(f"configs.transfers.{task}").get_config(
        f"res={a.res},model={a.model}{data}")
    lengths = {} if of.text_len == c.text_len else dict(
        prompt_len=of.text_len, max_new_tokens=of.text_len)
    c.evals.update({name: entry if entry["type"] == "mean" else {**lengths, **entry}
                    for name, entry in _begin(of.evals, prefix).items()})
    c.published.update(_begin(of.published if published is None else published, prefix))
  return c


def _begin(table, prefix):
  return {key: value for key, value in table.items()
          if f"{key}/".startswith(f"{prefix}/") and not key.endswith("/pplx")}
