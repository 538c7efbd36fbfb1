"""Evaluation: read, decode, score. A kind of task is a function over rows; the rest is here.

A kind (evaluators/vqa.py, ...) is a module with
  score(rows, tokenizer, **args) -> {metric: value}, which puts "score", "correct" and "references"
      into the rows
  PERCENT   names of metrics that papers print times 100
and, where it needs to,
  check(**args)   raises ValueError for arguments that make no sense
  likelihoods(model, params, batch) and row(...)   it reads given answers and writes none
  submission(rows, **args)   what a test server takes
What a row is: evaluators/rows.py. `mean`, which has no rows, is evaluators/mean.py.
"""
import functools
import hashlib
import importlib
import inspect
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from big_vlm import distributed, sharding
from big_vlm.batch import check_batch
from big_vlm.data import loader, source
from big_vlm.decode import answers, generate, samplers
from evaluators.mean import Mean
from evaluators.rows import Kept, in_order, majority, plain, shown, write_rows
from pp import builder
from pp.names import check_names, pick
from pp.tokenizer import get_tokenizer

KINDS = {name: f"evaluators.{name}" for name in (
    "exact_match", "vqa", "caption", "counting", "detection", "segmentation", "text_spotting",
    "tables", "sequence_error", "perplexity", "store")}


def evaluators(config, model, tokenizer, mesh, run=None):
  """[Evaluator or Mean] of all of a config's `evals`, in their order, means last.

  run: the schedules.TrainingHorizon of a training, which says how many steps there are.
  """
  entries = config.evals.to_dict()
  made = {name: Evaluator(name, model, tokenizer, mesh, run=run, **entry)
          for name, entry in entries.items() if entry["type"] != "mean"}
  means = [mean_of(name, made, **entry) for name, entry in entries.items()
           if entry["type"] == "mean"]
  return [*made.values(), *means]


def mean_of(name, made, *, type, evals, metric):
  """The Mean that a config's entry asks for, over evaluators {name: Evaluator}."""
  del type
  check_names(evals, made, f"The eval {name!r} is a mean over evals, but the config")
  return Mean(name, [made[other] for other in evals], metric)


def in_percent(kind, metric):
  """Whether papers print a metric of a kind, such as "accuracy/simple" of "counting", times 100."""
  if kind == "mean":
    return any(in_percent(other, metric) for other in KINDS)
  known = importlib.import_module(pick(KINDS, kind, "evaluator")).PERCENT
  return metric in known or metric.partition("/")[0] in known


class Evaluator:
  """One entry of a config's `evals`: decodes its data with some parameters and scores the answers.

  Nothing is read before the first run. sampler, max_new_tokens, cache_dtype: as VLM.generate takes
  them. steps, examples, epochs or fraction: how often a training (run: its
  schedules.TrainingHorizon) evaluates, by default at the end only; self.steps says it in steps.
  Other arguments go to the kind's score().
  """

  def __init__(self, name, model, tokenizer, mesh, *, type, data, pp, batch_size,
               max_new_tokens=None, sampler="greedy", cache_dtype="float32", run=None, steps=None,
               examples=None, epochs=None, fraction=None, **score_args):
    every = dict(eval_steps=steps, eval_examples=examples, eval_epochs=epochs,
                 eval_fraction=fraction)
    self.name, self.type = name, type
    self.steps = run.steps("eval", every, 0) if run else 0
    self.last = None  # (step, metrics) of the last run()
    self._kind = importlib.import_module(pick(KINDS, type, "evaluator"))
    self._check(score_args, max_new_tokens)
    if random := builder.random_ops(pp):
      raise ValueError(f"The eval {name!r} would not see the same examples each time: "
                       f"`{random[0]}` is random. Use a fixed op instead: getidx for choice, "
                       "resize or central_crop for crops.")
    search = samplers.build(sampler)
    self._draws = getattr(search, "n", 1) if isinstance(search, samplers.search.Sample) else 1
    self._model, self._mesh, self._tokenizer_name = model, mesh, tokenizer
    self._data, self._pp, self._batch_size = data, pp, batch_size
    self._decode = dict(max_new_tokens=max_new_tokens, sampler=sampler, cache_dtype=cache_dtype)
    self._score_args = score_args

  def _check(self, score_args, max_new_tokens):
    parameters = list(inspect.signature(self._kind.score).parameters.values())[2:]
    check_names(score_args, [p.name for p in parameters],
                f"The eval {self.name!r} of the kind {self.type!r}")
    if missing := [p.name for p in parameters if p.default is p.empty and p.name not in score_args]:
      raise ValueError(f"The eval {self.name!r} of the kind {self.type!r} needs {missing[0]}=.")
    if hasattr(self._kind, "check"):
      self._kind.check(**score_args)
    if max_new_tokens is None and not hasattr(self._kind, "likelihoods"):
      raise ValueError(f"The eval {self.name!r} needs max_new_tokens=.")

  @functools.cached_property
  def _tokenizer(self):
    return get_tokenizer(self._tokenizer_name)

  def run(self, params, workdir, step):
    """{"name/metric": value}; writes the rows to workdir/predictions/NAME-STEP.jsonl, and what a
    test server takes to workdir/submissions/NAME-STEP.json.

    Process 0 scores and writes; the others get {}.
    """
    rows, metrics, folder = self.predict(params), {}, pathlib.Path(workdir)
    if distributed.is_primary_process():
      metrics = self.score(rows)
      write_rows(folder / "predictions" / f"{self.name}-{step}.jsonl", rows)
      if hasattr(self._kind, "submission"):
        path = folder / "submissions" / f"{self.name}-{step}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.submission(rows)))
      print("  " + "  ".join(f"{k} {v:.4f}" for k, v in metrics.items()), flush=True)
    self.last = step, metrics
    return metrics

  def score(self, rows):
    """{"name/metric": value}; each row gets its "score".

    Raises ValueError where there are no rows, or a row lacks what the kind scores by.
    """
    metrics = self._kind.score(rows, self._tokenizer, **self._score_args)
    return {f"{self.name}/{k}": v for k, v in metrics.items()}

  def submission(self, rows):
    """What a test server takes, for JSON; None where the kind is not `store`."""
    make = getattr(self._kind, "submission", None)
    return make and make(rows, **self._score_args)

  def baseline(self, rows):
    """The metrics of one who never looks, see rows.majority(); {} where that is no text.

    rows: that score() has seen, which gives them the "suffix" that is their usual answer.
    """
    if not all("suffix" in row and "prefix" in row and "nlls" not in row for row in rows):
      return {}
    unsaid = ("tokens", "logprobs", "image")
    return self.score([{**{k: v for k, v in row.items() if k not in unsaid}, "prediction": guess}
                       for row, guess in zip(rows, majority(rows))])

  def in_percent(self, metric):
    return in_percent(self.type, metric)

  def predict(self, params, note=lambda done, total: None, images=0, kept=None):
    """The rows, every example once, in order; so many of the first with their "image".

    note(done, total) is called after each batch. Each process reads and decodes its part of every
    batch; all rows come to process 0, the others get []. kept: a path to which rows are appended
    batch by batch. A run that finds it there goes on behind its rows, if they are of the same
    evaluation (any batch size), parameters and number of examples.
    """
    examples, preprocess = source.get(**self._data), builder.get_preprocess_fn(self._pp)
    file = self._open(kept, params, len(examples)) if kept else None
    rows = list(file.rows) if file else []
    begin = distributed.broadcast_from_primary(lambda: len(rows))
    for row, i in zip(rows, range(images)):
      if "image" in (example := preprocess(examples[i])):
        row["image"] = shown(example["image"])
    places = sharding.local_batch_rows(self._mesh, self._batch_size)
    batches, count = loader.eval_batches(_Behind(examples, begin), preprocess, self._batch_size,
                                         rows=places)
    for i, batch in enumerate(batches):
      device, host = loader.split_batch(batch)
      at = begin + i * self._batch_size + np.arange(self._batch_size)  # indices of the examples
      answer = self._answers(params, device, at, at < len(examples), first=i == 0)
      mine = {}
      for j, place in enumerate(places):
        if at[place] < len(examples):
          known = plain({k: v[j] for k, v in host.items()})
          known.setdefault("id", known["_id"])
          if "image" in device:
            known["image_size"] = list(device["image"].shape[-3:-1])
            known |= {"image": shown(device["image"][j])} if at[place] < images else {}
          mine[int(at[place])] = {**known, **answer(j, place)}
      made = in_order(mine, at[at < len(examples)])
      if file:
        file.add(made)
      rows += made
      note(i + 1, count)
    assert len(rows) == len(examples) or not distributed.is_primary_process(), (len(rows), len(examples))
    return rows

  def _answers(self, params, device, at, real, first):
    """A function (row of `device`, row of the whole batch) -> what the model says there."""
    likelihood = hasattr(self._kind, "likelihoods")
    if first:
      check_batch(device, train=likelihood, vocab_size=self._model.config.llm.vocab_size)
    put = sharding.make_global_array(self._mesh, device, self._batch_size)
    if likelihood:
      nlls = self._kind.likelihoods(self._model, params, put)
      return lambda j, place: self._kind.row(nlls[place], {k: v[j] for k, v in device.items()},
                                             self._tokenizer)
    stops = answers.stops("eos", self._tokenizer.eos_token)
    draws = [generate.generate(self._model, params, {**put, "_mask": real}, stops=stops.all_ids,
                               seeds=(at * self._draws + draw).astype(np.uint32), **self._decode)
             for draw in range(self._draws)]

    def answer(j, place):
      del j
      best = max(draws, key=lambda state: state.logprobs[place].sum())
      end = best.length[place]
      found = answers.generation(best.tokens[place][:end], best.logprobs[place][:end], stops,
                                 self._tokenizer)
      return {"prediction": found.text, "tokens": found.tokens,
              "finish_reason": found.finish_reason,
              "logprobs": np.round(found.logprobs, 5).tolist()}
    return answer

  def _open(self, path, params, count):
    """The rows that process 0 keeps; None on others."""
    described = [self.type, self._data, self._pp, self._decode, self._tokenizer_name, count,
                 repr(self._model.config), fingerprint(params)]
    key = hashlib.sha256(json.dumps(described, default=repr).encode()).hexdigest()
    return Kept(pathlib.Path(path), key) if distributed.is_primary_process() else None


class _Behind:
  """The examples from one on."""

  def __init__(self, examples, begin):
    self._examples, self._begin = examples, begin

  def __len__(self):
    return len(self._examples) - self._begin

  def __getitem__(self, i):
    return self._examples[self._begin + i]


def fingerprint(params):
  """An int that tells parameters apart by every bit of them, on any mesh."""
  return int(distributed.fetch(_fingerprint(params)))


@jax.jit
def _fingerprint(params):
  total = jnp.uint32(0)
  for n, leaf in enumerate(jax.tree.leaves(params)):
    if jnp.issubdtype(leaf.dtype, jnp.floating):
      leaf = jax.lax.bitcast_convert_type(leaf, f"uint{8 * leaf.dtype.itemsize}")
    bits = leaf.astype(jnp.uint32)
    place = sum(jax.lax.broadcasted_iota(jnp.uint32, bits.shape, d)
                * jnp.uint32((2 * 7919**d + 1) % 2**32) for d in range(bits.ndim))
    # Sums of integers are the same in any order, and so on any mesh.
    total += jnp.sum((bits ^ (bits >> 15)) * (2 * place + 2 * n + 1), dtype=jnp.uint32)
  return total
