"""Compares float32, bfloat16, int8 and int4 weights: bytes, logits, time of a step, answers.

  python -m benchmarks.quantize SOURCE [--config configs/digits.py --limit 500] [--out FILE]

SOURCE is an argument of big_vlm.from_preset. The table, which is also written as JSON, has a row
for each dtype:

  bytes    of all parameters; the ratio is to from_preset(SOURCE, dtype="bfloat16"), where vectors
           and the patch and position embeddings are float32. int8 and int4 are quantized from it.
  logits   |difference| / |logits| to the float32 model, both run in float32, at 64 prompts of each
           eval of --config (the mean over evals). Without --config the tokens and images are
           random; a trained model has never seen such, so that the number says little. The weights
           of the row bfloat16 are rounded to it.
  step ms  (a call of generate() for 32 tokens - a call for one) / 31 for --batch prompts, without
           early stop; the median of --rounds, in which the dtypes take turns. int8 and int4 compute
           in bfloat16.
  TASK     with --config: the fraction of the first --limit prompts of each eval to which the greedy
           answer has the same tokens as that of the float32 model, both run in float32
"""
import argparse
import dataclasses
import datetime
import importlib.util
import json
import os
import pathlib
import platform
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

import big_vlm
from big_vlm import sharding, trees
from big_vlm.adapt import quantize
from big_vlm.checkpoints import load
from big_vlm.data import loader, mixture, source
from evaluators import common
from pp import builder

PROMPT, NEW = 8, 32  # tokens
PROMPTS = 64  # of each eval, for the logits
RESULTS = pathlib.Path(__file__).parent / "results"


def rounded(vlm):
  """The VLM with its weights rounded to bfloat16 as from_preset would, kept in their dtype."""
  def leaf(name, x):
    return x.astype(load.dtype_of(name, "bfloat16")).astype(x.dtype)
  return dataclasses.replace(vlm, params=trees.map_with_names(leaf, vlm.params))


def inputs(vlm, batch):
  """(prompts [[id]], images uint8 [B, height, width, 3] or None) from a fixed seed."""
  rng = np.random.default_rng(0)
  size, vocab = vlm.image_size, vlm.config.llm.vocab_size
  prompts = rng.integers(4, vocab, (batch, PROMPT)).tolist()
  return prompts, size and rng.integers(0, 256, (batch, size, size, 3)).astype(np.uint8)


def step_ms(vlms, batch, rounds):
  """{form: milliseconds of one decoding step}."""
  taken = {name: {1: [], NEW: []} for name in vlms}
  for round_ in range(-1, rounds):  # the first compiles
    for name, vlm in vlms.items():
      prompts, images = inputs(vlm, batch)
      for new in (1, NEW):
        began = time.perf_counter()
        vlm.generate(prompts, images, max_new_tokens=new, stop=())
        if round_ >= 0:
          taken[name][new].append(time.perf_counter() - began)
  median = lambda name, new: statistics.median(taken[name][new])
  return {name: (median(name, NEW) - median(name, 1)) / (NEW - 1) * 1e3 for name in vlms}


def first_prompts(config):
  """[(tokens [B, T], images [B, height, width, 3])] of each eval's first B = 64 examples."""
  found = []
  context = mixture.context_of(config)
  for entry in config.evals.to_dict().values():
    examples = source.get(**_limited(entry, PROMPTS)["data"])
    preprocess = builder.get_preprocess_fn(entry["pp"], common.context_for(context, **entry))
    batches, _ = loader.eval_batches(examples, preprocess, PROMPTS)
    batch = next(iter(batches))
    found.append((batch["text"], batch["image"]))
  return found


def logits_errors(reference, forms, batches):
  """{form: mean of its errors over the batches (tokens, images)}."""
  @jax.jit
  def logits(params, tokens, images):
    mask_ar = jnp.full(tokens.shape, 0 if reference.config.img else 1, jnp.int32)
    hidden = reference.model.apply({"params": params}, tokens, mask_ar, images)
    return reference.model.apply({"params": params}, hidden, method="logits")

  def error(params, tokens, images):
    """|difference| / |logits|, Euclidean norms over all tokens, read as a prompt is."""
    want, got = (logits(p, jnp.asarray(tokens, jnp.int32), images)
                 for p in (reference.params, params))
    return float(jnp.linalg.norm(got - want) / jnp.linalg.norm(want))
  return {name: statistics.mean(error(vlm.params, *batch) for batch in batches)
          for name, vlm in forms.items()}


def read_config(path):
  """The config of a file, "FILE.py" or "FILE.py:ARGUMENT"."""
  file, _, argument = str(path).partition(":")
  spec = importlib.util.spec_from_file_location("config", file)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.get_config(*[argument] * bool(argument))


def _limited(entry, limit):
  """An entry of a config's `evals` with the first examples of its split alone."""
  data = entry["data"]
  return {**entry, "data": {**data, "split": f"{data['split']}[:{limit}]"}}


def answers(vlm, config, limit):
  """{task: [token ids of the answer to each of the first `limit` examples]}, decoded greedily."""
  found = {}
  for name, entry in config.evals.to_dict().items():
    evaluator = common.Evaluator(name, vlm.model, vlm.tokenizer_name, vlm.mesh,
                                 context=mixture.context_of(config), **_limited(entry, limit))
    found[name] = [list(row["tokens"]) for row in evaluator.predict(vlm.params)]
  return found


def unchanged(reference, forms, config, limit):
  """{form: {task or "all": share}}, and how many prompts there are in all."""
  mesh = sharding.make_mesh(config.mesh.to_dict())
  want = answers(dataclasses.replace(reference, mesh=mesh), config, limit)
  shares = {}
  for name, vlm in forms.items():
    got = answers(dataclasses.replace(vlm, mesh=mesh), config, limit)
    same = {task: [a == b for a, b in zip(got[task], want[task], strict=True)] for task in want}
    everything = [s for part in same.values() for s in part]
    shares[name] = {**{task: float(np.mean(s)) for task, s in same.items()},
                    "all": float(np.mean(everything))}
  return shares, sum(map(len, want.values()))


def measure(path, config, limit, batch, rounds):
  """(rows {form: {...}}, number of prompts) of all that the docstring above lists."""
  reference, half = (big_vlm.from_preset(path, dtype=d) for d in ("float32", "bfloat16"))
  served = {"float32": reference, "bfloat16": half,
            **{kind: half.quantize(kind) for kind in quantize.KINDS}}
  sizes = {name: quantize.nbytes(vlm.params) for name, vlm in served.items()}
  rows = {name: {"bytes": n, "ratio": n / sizes["bfloat16"]} for name, n in sizes.items()}
  exact = {"bfloat16": rounded(reference),
           **{kind: reference.quantize(kind) for kind in quantize.KINDS}}
  config, count = config and read_config(config), 0
  seen = first_prompts(config) if config else [inputs(reference, PROMPTS)]
  for name, error in logits_errors(reference, exact, seen).items():
    rows[name]["logits_error"] = error
  for name, ms in step_ms(served, batch, rounds).items():
    rows[name]["step_ms"] = ms
  if config:
    shares, count = unchanged(reference, exact, config, limit)
    for name, by_task in shares.items():
      rows[name]["unchanged"] = by_task
  return rows, count


def table(rows):
  tasks = list(next((r["unchanged"] for r in rows.values() if "unchanged" in r), ()))
  lines = ["               bytes  ratio  logits  step ms" + "".join(f"{t:>12}" for t in tasks)]
  for name, row in rows.items():
    error = f"{row['logits_error']:.4f}" if "logits_error" in row else "-"
    shares = "".join(f"{row['unchanged'][t]:12.2%}" if "unchanged" in row else f"{'-':>12}"
                     for t in tasks)
    lines.append(f"{name:8s}{row['bytes']:12,}  {row['ratio']:5.3f}  {error:>6}  "
                 f"{row['step_ms']:7.2f}{shares}")
  return "\n".join(lines)


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("source")
  parser.add_argument("--config", help="config file with `evals`")
  parser.add_argument("--limit", type=int, default=500, help="examples of each eval")
  parser.add_argument("--batch", type=int, default=4)
  parser.add_argument("--rounds", type=int, default=7)
  parser.add_argument("--out", type=pathlib.Path)
  args = parser.parse_args()
  load_before = [round(x, 2) for x in os.getloadavg()]
  rows, count = measure(args.source, args.config, args.limit, args.batch, args.rounds)
  name = pathlib.PurePath(args.source).name
  result = {
      "date": datetime.date.today().isoformat(), "jax": jax.__version__,
      "device": f"{jax.devices()[0].device_kind}, {platform.machine()}, {os.cpu_count()} cores",
      "load": load_before, "config": args.config, "prompts": count, "batch": args.batch,
      "new": NEW, "groups_of": quantize.GROUP, "rows": rows}
  print(table(rows))
  out = args.out or RESULTS / f"quantize-{name}.json"
  out.parent.mkdir(parents=True, exist_ok=True)
  out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
  main()
