"""Evaluation: reads the data, decodes answers, scores them.

An evaluator type is a module (evaluators/vqa.py, ...) with
  score(predictions, tokenizer, **args) -> {metric: value}; it adds "score", "correct" and
      "references" to the predictions, which evaluators/predictions.py describes
  PERCENT   names of metrics that papers print times 100
and optionally
  UNDEFINED   {metric: why it is NaN where the examples leave it undefined}
  check(**args)   raises ValueError for arguments that make no sense
  likelihoods(model, params, batch) and row(...)   for a type that reads given answers, not decodes
  submission(predictions, **args)   the JSON value that a test server takes
  PAIRS     True for a type whose batches are pairs of an image and a text, for two towers
A type that compares vectors has hooks of its own, see evaluators/vectors.py. The type `mean`, which
has no predictions, is evaluators/mean.py. A type of one's own is the path of such a module,
type="my.metrics".
"""
import dataclasses
import functools
import hashlib
import importlib
import inspect
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from big_vlm import distributed, embedding, files, inputs, sharding
from big_vlm.batch import check_batch
from big_vlm.data import loader, mixture, source
from big_vlm.decode import samplers, structured
from big_vlm.decode.session import GenerationConfig
from evaluators import decoding, vectors
from evaluators import outfile as outfile_lib
from evaluators.mean import Mean
from evaluators.predictions import (
  MissingKey,
  ResumableWriter,
  majority_class,
  to_display,
  write_predictions,
)
from pp import builder
from pp.context import Context
from pp.names import check_names, pick
from pp.tokenizer import get_tokenizer

EVALUATOR_TYPES = {name: f"evaluators.{name}" for name in (
    "exact_match", "classification", "label_list", "numbers", "json", "vqa", "caption", "counting",
    "detection", "segmentation", "text_spotting", "tables", "sequence_error", "perplexity",
    "sigmoid", "submission", "retrieval", "zero_shot_classification", "few_shot")}


def evaluators(config, model, tokenizer, mesh, run=None):
  """[Evaluator or Mean] of all of a config's `evals`, in their order, means last.

  run: the schedules.TrainingHorizon of a training, which says how many steps there are.
  """
  entries, context = config.evals.to_dict(), mixture.context_of(config)
  takes = model and model.config.img and model.config.img.image_size
  if takes and context.image_size not in (takes, None):
    raise ValueError(f"The config's images have {context.image_size} pixels a side, but the model "
                     f"takes {takes}: give a model of that resolution, or "
                     f"--config.model.img.image_size={takes}.")
  made = {name: Evaluator(name, model, tokenizer, mesh, run=run, context=context, **entry)
          for name, entry in entries.items() if entry["type"] != "mean"}
  means = [mean_of(name, made, **entry) for name, entry in entries.items()
           if entry["type"] == "mean"]
  outfile_lib.check_apart(entries)
  return [*made.values(), *means]


def check_first(evaluators):
  """Looks at the first examples of each Evaluator, so that a training whose last step evaluates
  does not find out then that their data, pp or labels are not as they should be.

  Raises ValueError or OSError that names the eval.
  """
  for evaluator in evaluators:
    if isinstance(evaluator, Evaluator):
      try:
        evaluator.check_first()
      except (ValueError, OSError) as e:
        raise ValueError(f"The eval {evaluator.name!r} would fail when it is due: {e}") from e


def mean_of(name, made, *, evals=(), metric="", **others):
  """The Mean that a config's entry asks for, over evaluators {name: Evaluator}."""
  check_names(others, ("type", "evals", "metric"), f"The eval {name!r} of the type 'mean'")
  check_names(evals, made, f"The eval {name!r} is a mean over evals, but the config")
  return Mean(name, [made[other] for other in evals], metric)


def context_for(context, type, prompt_len=None, **_):
  """The Context of the eval that an entry of a config describes.

  context: of the config's training. An eval that decodes lays out prompts alone, of prompt_len
  tokens or as many as the training reads; one that reads given answers lays out both.
  """
  return dataclasses.replace(context, train=hasattr(module_of(type), "likelihoods"),
                             text_len=prompt_len or context.text_len)


def module_of(type):
  """The module of an evaluator type, or of one's own. Raises ValueError where there is none, and
  for one that lacks what it must have."""
  own = isinstance(type, str) and "." in type
  try:
    module = importlib.import_module(type if own else pick(EVALUATOR_TYPES, type, "evaluator"))
  except ImportError as e:
    raise ValueError(f"The evaluator {type!r} cannot be imported: {e}. It is one of "
                     f"{', '.join(EVALUATOR_TYPES)}, or a module of your own that Python finds "
                     "from here, such as my.metrics in the file my/metrics.py.") from e
  if lacks := [what for what in ("score", "PERCENT") if not hasattr(module, what)]:
    raise ValueError(f"The evaluator {type!r} has no {lacks[0]}; evaluators/common.py says what "
                     "such a module needs.")
  return module


def in_percent(type, metric):
  """Whether papers print a metric of an evaluator type, such as "accuracy/simple", times 100."""
  if type == "mean":
    return any(in_percent(other, metric) for other in EVALUATOR_TYPES)
  known = module_of(type).PERCENT
  return metric in known or metric.partition("/")[0] in known


def check_arguments(name, *, type, **given):
  """Raises ValueError for an argument that an eval's type does not take, or for one it lacks."""
  module = module_of(type)
  known = [p for p in inspect.signature(Evaluator).parameters.values()
           if p.kind is p.KEYWORD_ONLY and p.name not in ("type", "context", "run")]
  known += list(inspect.signature(module.score).parameters.values())[2:]
  what = f"The eval {name!r} of the type {type!r}"
  check_names(given, [p.name for p in known], what)
  if missing := [p.name for p in known if p.default is p.empty and p.name not in given]:
    raise ValueError(f"{what} needs {missing[0]}=.")


class Evaluator:
  """One entry of a config's `evals`: decodes its data with some parameters and scores the answers.

  The first run opens the data. sampler, max_new_tokens, grammar, cache_dtype, logit_bias: as
  VLM.generate takes them.
  limit: evaluate so many of the examples, a fixed sample of them; None: all.
  steps, examples, epochs or fraction: how often a training (run: its
  schedules.TrainingHorizon) evaluates, by default at the end only; self.steps is that in steps.
  at_start: before its first step too. outfile: pattern of one more file of predictions, see
  evaluators/outfile.py.
  context: the config's fields; its text_len is the default of prompt_len and max_new_tokens. Other
  arguments go to the type's score().
  """

  def __init__(self, name, model, tokenizer, mesh, *, type, data, pp, batch_size,
               limit=None, context=None, prompt_len=None, max_new_tokens=None, sampler="greedy",
               grammar=None, cache_dtype=None, logit_bias=None, at_start=False, outfile=None,
               run=None, steps=None, examples=None, epochs=None, fraction=None, **score_args):
    every = dict(eval_steps=steps, eval_examples=examples, eval_epochs=epochs,
                 eval_fraction=fraction)
    if not isinstance(at_start, bool):
      raise ValueError(f"The eval {name!r} has at_start={at_start!r}: give True or False.")
    if outfile is not None:
      outfile_lib.check(outfile, name)
    self.name, self.type, self.at_start, self._outfile = name, type, at_start, outfile
    self.steps = run.steps("eval", every, 0) if run else 0
    self.last = None  # (step, metrics) of the last run()
    check_arguments(name, type=type, data=data, pp=pp, batch_size=batch_size, **score_args)
    self._module = module_of(type)
    context = dataclasses.replace(context or Context(), tokenizer=tokenizer)
    max_new_tokens = max_new_tokens or context.text_len
    self._check(score_args, max_new_tokens)
    if random := builder.random_ops(pp):
      raise ValueError(f"The eval {name!r} would not see the same examples each time: "
                       f"`{random[0]}` is random. Use a fixed op instead: getidx for choice, "
                       "resize or central_crop for crops.")
    samplers.build(sampler)  # an error in it shows now
    self._decode = GenerationConfig(max_new_tokens or 0, sampler=sampler, grammar=grammar,
                                    cache_dtype=cache_dtype, logit_bias=logit_bias)
    if "choices" in (structured.normalized(grammar) or ()):
      raise ValueError(f"The eval {name!r} has choices as its grammar, which generate() alone "
                       "weighs: give {'regex': 'yes|no'}.")
    self._model, self._mesh, self._tokenizer_name = model, mesh, tokenizer
    if model and self._compares:
      vectors.check_model(name, self._module, model.config)
    if batch_size < 1:
      raise ValueError(f"The eval {name!r} has batch_size={batch_size}: give 1 or more.")
    if limit is not None and limit < 1:
      raise ValueError(f"The eval {name!r} has limit={limit}: a number of examples is 1 or more.")
    self.data, self._pp, self._batch_size, self._limit = data, pp, batch_size, limit
    self.total = None  # examples of the data, from predict() on
    self._context = context_for(context, type, prompt_len)
    self.preprocess = model and builder.get_preprocess_fn(pp, self._context)
    self._score_args = score_args

  def _check(self, score_args, max_new_tokens):
    if hasattr(self._module, "check"):
      self._module.check(**score_args)
    if max_new_tokens is None and not (self._reads or self._compares):
      raise ValueError(f"The eval {self.name!r} needs max_new_tokens=.")

  @functools.cached_property
  def _tokenizer(self):
    return self._tokenizer_name and get_tokenizer(self._tokenizer_name)

  def run(self, params, workdir, step):
    """{"name/metric": value}, but for undefined ones; writes the predictions to
    workdir/predictions/NAME-STEP.jsonl, and the file for a test server to
    workdir/submissions/NAME-STEP.json.

    Process 0 scores and writes; the others get {}.
    """
    predictions, metrics, folder = self.predict(params), {}, epath.Path(workdir)
    if distributed.is_primary_process():
      metrics = self.score(predictions)
      write_predictions(folder / "predictions" / f"{self.name}-{step}.jsonl", predictions)
      self.write_outfile(predictions, workdir, step)
      if hasattr(self._module, "submission"):
        files.write_atomic(folder / "submissions" / f"{self.name}-{step}.json",
                           json.dumps(self.submission(predictions)))
      print(f"  step {step}  " + "  ".join(f"{k} {v:.4f}" if math.isfinite(v) else
                             f"{k} - ({self.undefined(k.removeprefix(self.name + '/'))})"
                             for k, v in metrics.items()), flush=True)
    self.last = step, metrics
    return {k: v for k, v in metrics.items() if math.isfinite(v)}

  def score(self, predictions):
    """{"name/metric": value}; each prediction gets its "score".

    Raises ValueError where there are no predictions, or one lacks a key that the type needs.
    """
    metrics = self._module.score(predictions, self._tokenizer, **self._score_args)
    return {f"{self.name}/{k}": v for k, v in metrics.items()}

  def write_outfile(self, predictions, workdir, step):
    """Writes the file of predictions that `outfile` asks for, where it does; step: as its {step}.
    """
    if self._outfile:
      path = outfile_lib.resolve(self._outfile, workdir, self.name, self.data, step)
      write_predictions(path, predictions)

  def submission(self, predictions):
    """The JSON value that a test server takes; None where the type is not `submission`."""
    make = getattr(self._module, "submission", None)
    return make and make(predictions, **self._score_args)

  def baseline(self, predictions):
    """The metrics of predictions.majority_class(); {} where the answers are not texts.

    predictions: after score(), which gives each the "suffix" that is its usual answer.
    """
    if not all("suffix" in p and "prefix" in p and "nlls" not in p for p in predictions):
      return {}
    of_model = ("tokens", "logprobs", "image", "whole")
    return self.score([{**{k: v for k, v in p.items() if k not in of_model}, "prediction": guess}
                       for p, guess in zip(predictions, majority_class(predictions))])

  def undefined(self, metric):
    """Why a metric is NaN."""
    return getattr(self._module, "UNDEFINED", {}).get(metric, "the examples leave nothing to count")

  def of_sample(self):
    """What a metric of a part of the examples says of that of all, where no interval does."""
    return getattr(self._module, "OF_SAMPLE", "")

  def in_percent(self, metric):
    return in_percent(self.type, metric)

  def predict(self, params, note=lambda done, total: None, images=0, kept=None):
    """The predictions, every example once, in order; the first `images` with their "image", and
    "whole" where the picture as it came is another.

    note(done, total) is called after each batch. Each process reads and decodes its part of every
    batch; process 0 gets all predictions, the others []. kept: a path to which predictions are
    appended batch by batch. A run that finds it resumes behind them, if they are of the same
    evaluation (any batch size), parameters and number of examples.
    """
    examples, preprocess = source.get(**self.data), self.preprocess
    self.total = len(examples)
    if self._limit:
      examples = source.Sample(examples, self._limit)
    if self._compares:
      self._vectors = self._vectors_of(params)
      self._vectors.begin(examples)
    file = self._open(kept, params, examples) if kept else None
    predictions = list(file.predictions) if file else []
    begin = distributed.broadcast_from_primary(lambda: len(predictions))
    for p, i in zip(predictions, range(images)):
      if "image" in (example := preprocess(examples[i])):
        p |= decoding.pictures(example["image"], examples[i])
    made = decoding.predictions(examples, preprocess, self._answer(params), self._mesh,
                                self._batch_size, start=begin, images=images,
                                check=self._check_batch)
    for done, (batch, count) in enumerate(made, 1):
      if file:
        file.add(batch)
      predictions += batch
      note(done, count)
    if file:
      file.close()
    assert not distributed.is_primary_process() or len(predictions) == len(examples), (
        len(predictions), len(examples))
    if self._compares:
      self._vectors.finish(predictions)
      self._show_neighbours(predictions[:images], examples)
    return predictions

  def check_first(self):
    """Raises what is wrong with the first examples, without parameters and without a look at all.
    """
    cheap = {"check": False} if self.data.get("name") in source.CHECKED else {}
    examples = source.get(**{**self.data, **cheap})
    if "train" in self._score_args:
      return  # few_shot, which first reads all labels of another data set
    if self._compares:
      self._vectors_of(None).look(examples)
    else:
      first = {**self.preprocess(examples[0]), "_mask": np.bool_(True)}
      self._check_batch(*loader.split_batch(loader.collate([first])))
      if not (self._reads or getattr(self._module, "PAIRS", False)):
        self._decoder.check()

  def _vectors_of(self, params):
    return vectors.Vectors(
        self.name, self._module, self._score_args, self.data, self._model, params, self._tokenizer,
        self._mesh, self._batch_size, self.preprocess)

  def _answer(self, params):
    """The answer() of decoding.predictions()."""
    if self._compares:
      return self._vectors.answer
    return functools.partial(self._likelihoods if self._reads else self._decoder.answer, params)

  def _show_neighbours(self, predictions, examples):
    """Gives predictions the pictures of their "nearest_images", "neighbours"."""
    for p in predictions:
      p["neighbours"] = [to_display(self.preprocess(examples[number])["image"])
                         for number, *_ in p.get("nearest_images", ())]

  def empty(self, device, j):
    """Fields of the prediction that a type which reads given answers makes of row j of a batch; {}
    of one that decodes."""
    if not self._reads:
      return {}
    row = {k: v[j] for k, v in device.items()}
    return self._module.row(np.zeros(len(row["text"]) - 1, np.float32), row, self._tokenizer)

  @property
  def _reads(self):
    """Whether the type reads given answers; others decode."""
    return hasattr(self._module, "likelihoods")

  @property
  def _compares(self):
    """Whether the type compares vectors."""
    return hasattr(self._module, "compare")

  @property
  def _decoder(self):
    return decoding.Decoder(self._model, self._tokenizer, self._mesh, self._batch_size,
                            self._decode)

  def _check_batch(self, device, host):
    if getattr(self._module, "PAIRS", False):
      embedding.check_pair(self._model.config)
      return check_batch(device, train=False, vocab_size=self._model.config.txt.vocab_size,
                         pairs=True)
    if self._compares:  # which has looked at examples already
      return
    check_batch(device, train=self._reads,
                vocab_size=inputs.model_limits(self._model.config).vocab_size)
    if not self._reads:
      self._check_keys(decoding.known_of(device, host, 0))

  def _check_keys(self, example):
    """Raises MissingKey now, and not after everything is decoded."""
    try:
      self.score([{**example, "prediction": "", "tokens": [], "logprobs": [],
                   "finish_reason": "eos"}])
    except MissingKey:
      raise
    except Exception:
      pass  # a metric may be undefined for one example alone; the score of all says what is wrong

  def _likelihoods(self, params, device, at, real):
    """The answer() of decoding.predictions() for a type that reads given answers."""
    del at, real
    put = sharding.make_global_array(self._mesh, device, self._batch_size)
    nlls = self._module.likelihoods(self._model, params, put)
    return lambda j, place: self._module.row(nlls[place], {k: v[j] for k, v in device.items()},
                                           self._tokenizer)

  def _open(self, path, params, examples):
    """The ResumableWriter of process 0; None on others."""
    described = [self.type, self.data, self._pp, self._context, self._decode, len(examples),
                 *([self._limit] if self._limit else []),
                 *([self._vectors.identity()] if self._compares else []),
                 examples.fingerprint(),  # of the content: a file may have changed in its place
                 repr(self._model.config), fingerprint(params)]
    key = hashlib.sha256(json.dumps(described, default=repr).encode()).hexdigest()
    return ResumableWriter(path, key) if distributed.is_primary_process() else None


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
