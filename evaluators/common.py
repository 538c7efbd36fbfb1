"""Evaluation: read, decode, score. A kind of task is a function over rows; the rest is here.

A row is what the model said about one example, with all that the pp string kept of it:
  {"id", "prefix", "suffix", ..., "image_size": [h, w], "prediction": str, "logprobs": [float],
   "finish_reason": str}
A kind (evaluators/exact_match.py, ...) has `score(rows, tokenizer, **kw) -> {metric: value}` and
puts "score" and "correct" into each row.
"""
import collections
import importlib
import json
import os
import pathlib

import jax
import numpy as np
from flax import serialization

from big_vlm import distributed, sharding
from big_vlm.batch import check_batch
from big_vlm.data import loader, source
from big_vlm.decode import answers, generate
from pp import builder
from pp.registry import pick
from pp.tokenizer import get_tokenizer

KINDS = {"exact_match": "evaluators.exact_match", "caption": "evaluators.caption",
         "detection": "evaluators.detection"}
# Kinds and arguments that configs/transfers name and that are not written yet.
COMING = ("perplexity", "vqa", "segmentation", "counting", "text_spotting", "tables",
          "sequence_error", "store", "mean")
COMING_ARGUMENTS = ("sampler", "language")


def runnable(evals):
  """The entries of a config's `evals` that this version can run; prints which it leaves out."""
  lacks = {name: [entry["type"]] if entry["type"] in COMING else
           [a for a in COMING_ARGUMENTS if a in entry] for name, entry in evals.items()}
  if out := [f"{name} ({', '.join(what)})" for name, what in lacks.items() if what]:
    print(f"left out, for they need what evaluators/ does not have yet: {', '.join(out)}")
  return {name: entry for name, entry in evals.items() if not lacks[name]}


class Evaluator:
  """One entry of a config's `evals`: decodes its data with some parameters and scores the answers.

  steps, examples, epochs or percent: how often a training (run: its schedules.Run) evaluates, by
  default at the end only; self.steps says it in steps. Other arguments go to the kind's score().
  """

  def __init__(self, name, model, tokenizer, mesh, *, type, data, pp, batch_size, max_new_tokens,
               run=None, steps=None, examples=None, epochs=None, percent=None,
               cache_dtype="float32", **score_args):
    every = dict(eval_steps=steps, eval_examples=examples, eval_epochs=epochs,
                 eval_percent=percent)
    self.name, self.steps = name, run.steps("eval", every, 0) if run else 0
    self._kind = importlib.import_module(pick(KINDS, type, "evaluator"))
    if random := builder.random_ops(pp):
      raise ValueError(f"The eval {name!r} would not see the same examples each time: "
                       f"`{random[0]}` is random. Use a fixed op instead: getidx for choice, "
                       "resize or central_crop for crops.")
    self._model, self._tokenizer, self._mesh = model, get_tokenizer(tokenizer), mesh
    self._data, self._pp, self._batch_size = data, pp, batch_size
    self._decode = dict(max_new_tokens=max_new_tokens, stops=[self._tokenizer.eos_token],
                        cache_dtype=cache_dtype)
    self._score_args = score_args

  def run(self, params, workdir, step):
    """{"name/metric": value}; writes the rows to workdir/predictions/NAME-STEP.jsonl.

    Process 0 scores and writes; the others get {}.
    """
    rows = self.predict(params)
    if not distributed.main():
      return {}
    metrics = self.score(rows)
    write_rows(pathlib.Path(workdir) / "predictions" / f"{self.name}-{step}.jsonl", rows)
    print("  " + "  ".join(f"{k} {v:.4f}" for k, v in metrics.items()), flush=True)
    return metrics

  def score(self, rows):
    """{"name/metric": value}; each row gets its "score"."""
    metrics = self._kind.score(rows, self._tokenizer, **self._score_args)
    return {f"{self.name}/{k}": v for k, v in metrics.items()}

  def baseline(self, rows):
    """The same metrics for one who never looks: see majority()."""
    guesses = zip(_unanswered(rows), majority(rows))
    return self.score([{**row, "prediction": guess} for row, guess in guesses])

  def predict(self, params, note=lambda done, total: None, images=0):
    """The rows, every example once, in order; so many of the first with their "image".

    note(done, total) is called after each batch. Each process reads and decodes its part of every
    batch; all rows come to process 0, the others get [].
    """
    examples = source.get(**self._data)
    places = sharding.process_rows(self._mesh, self._batch_size)
    batches, count = loader.eval_batches(examples, builder.get_preprocess_fn(self._pp),
                                         self._batch_size, rows=places)
    rows = []
    for i, batch in enumerate(batches):
      device, host = loader.split_batch(batch)
      if i == 0:
        check_batch(device, train=False, vocab_size=self._model.config.llm.vocab_size)
      at = i * self._batch_size + np.arange(self._batch_size)  # indices of the examples
      put = {**sharding.put_batch(self._mesh, device, self._batch_size),
             "_mask": at < len(examples)}
      state = generate.generate(self._model, params, put, **self._decode)
      mine = {}
      for j, place in enumerate(places):
        if at[place] < len(examples):
          known = {k: v[j] for k, v in host.items()}
          if "image" in device:
            known["image_size"] = list(device["image"].shape[-3:-1])
            known |= {"image": device["image"][j]} if at[place] < images else {}
          mine[int(at[place])] = {**known, **self._answer(state, place)}
      rows += in_order(mine)
      note(i + 1, count)
    assert len(rows) == len(examples) or not distributed.main(), (len(rows), len(examples))
    return rows

  def _answer(self, state, i):
    end, stops = state.length[i], answers.stops("eos", self._tokenizer.eos_token)
    found = answers.generation(state.tokens[i][:end], state.logprobs[i][:end], stops,
                               self._tokenizer)
    return {"prediction": found.text, "tokens": found.tokens, "finish_reason": found.finish_reason,
            "logprobs": np.round(found.logprobs, 5).tolist()}


def in_order(rows):
  """The rows {index: row} of all processes as a list, each index once; [] but on process 0."""
  if jax.process_count() > 1:
    everyone = distributed.gather(serialization.msgpack_serialize(
        {str(i): [list(row), _packed(list(row.values()))] for i, row in rows.items()}))
    if not distributed.main():
      return []
    rows = {int(i): dict(zip(keys, values)) for data in everyone
            for i, (keys, values) in serialization.msgpack_restore(data).items()}
  return [rows[i] for i in sorted(rows)]


def _packed(value):
  """Tuples and arrays of strings as lists, which is what the packing knows."""
  if isinstance(value, np.ndarray) and value.dtype == object:
    value = value.tolist()
  if isinstance(value, (list, tuple)):
    return [_packed(v) for v in value]
  return {k: _packed(v) for k, v in value.items()} if isinstance(value, dict) else value


def majority(rows):
  """For each row the most frequent "suffix" among the other rows with its "prefix", or among all
  others where the prompt is unique: leaving the row itself out, it does not see its own answer."""
  def counts(rows):
    return collections.Counter(row["suffix"] for row in rows)
  overall, by_prompt = counts(rows), {}
  for row in rows:
    by_prompt.setdefault(row["prefix"], []).append(row)
  by_prompt = {prompt: counts(group) for prompt, group in by_prompt.items()}
  for row in rows:
    own = collections.Counter([row["suffix"]])
    left = by_prompt[row["prefix"]] - own or overall - own or overall
    yield left.most_common(1)[0][0]


def _unanswered(rows):
  return [{k: v for k, v in row.items() if k not in ("tokens", "logprobs")} for row in rows]


def write_rows(path, rows):
  """One JSON object per row and line, without the image; the file is replaced when whole."""
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_suffix(".tmp")
  with temporary.open("w") as f:
    for row in rows:
      f.write(json.dumps({k: _plain(v) for k, v in row.items() if k != "image"},
                         ensure_ascii=False) + "\n")
  os.replace(temporary, path)


def _plain(value):
  """numpy and bytes as JSON has them."""
  if isinstance(value, bytes):
    return value.decode("utf-8", "replace")
  if isinstance(value, np.ndarray):
    return [_plain(v) for v in value.tolist()]
  if isinstance(value, np.generic):
    return value.item()
  if isinstance(value, (list, tuple)):
    return [_plain(v) for v in value]
  if isinstance(value, dict):
    return {k: _plain(v) for k, v in value.items()}
  return value
