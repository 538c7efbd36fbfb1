"""vlm.fit: fine-tuning from a notebook, with the data stream and the loop of trainers.train."""
import concurrent.futures
import contextlib
import math
import os
import re
import signal
import threading

import jax
import jax.numpy as jnp
import numpy as np

from big_vlm import inputs, presets, reporting, sharding, trees
from big_vlm.adapt import lora
from big_vlm.data import loader, mixture, packing, source
from big_vlm.families import paligemma
from big_vlm.training import defaults, loop, nan_guard, optim, schedules
from big_vlm.training import examples as own
from big_vlm.training import step as steps
from big_vlm.training.setup import TrainSetup
from pp import builder
from pp.context import Context

TEXT_MULTIPLE = 16  # rows are rounded up to it
PAD = "pad_row"  # the op of rows of token ids
# What the error of a loss that is not finite says of the parameters, and of a remedy.
NOT_FINITE = ("vlm.params took nothing of it. What mostly helps: a lower lr, a longer warmup, "
              "from_preset(dtype='float32'), or leaving these examples out.")


def fit(vlm, examples, *, steps=None, epochs=1, batch_size=8, lr=None, schedule="cosine",
        warmup=None, weight_decay=0., optimizer="adamw", trainable=None, text_len=None, seed=0,
        log_every=None):
  """Trains vlm on examples, sets vlm.params, and returns {"step": [..], "loss": [..], "lr": [..]}.

  All examples are read once before the first step, so that a bad one is an error at the start. The
  history has every step. Parameters keep their dtypes: trainable parameters are float32 during the
  call, and are rounded to the dtype they had when it ends. Arrays that vlm.params held before stay
  valid: another VLM may share them.

  An interrupt (Ctrl-C, a notebook's stop button) ends the training early: vlm.params are those of
  the last finished step, and the history so far is returned. An error, such as that of a loss which
  is not finite, leaves vlm.params at the last finished step too.

  Args:
    examples: the path of a JSONL file (see big_vlm/data/jsonl.py), of Parquet, a tar of WebDataset
      or a folder of `datasets` with fields called so (big_vlm/data/source.py), or a list of
      {"image": path, bytes, PIL image or array, "prefix": str, "suffix": str} (see
      big_vlm/data/memory.py); "images" for several, the same number in all; neither of them for
      text alone. A text-only model also takes plain strings, texts that it learns to write from
      their first token. Columns as KerasHub's, and token ids with targets and weights or with
      labels: training/examples.py.
    steps: updates; None: epochs times the examples over batch_size, rounded up.
    batch_size: examples of an update; where there are fewer in all, they repeat.
    lr: the peak; None: by the size of the model, see training/defaults.py.
    schedule: a name of training/schedules.py. weight_decay, optimizer: see training/optim.py.
    warmup: steps; None: a tenth of all.
    trainable: a regex that must match the whole name of a parameter, such as "img/.*", or rules
      ((regex, bool), ...). None: the LoRA adapters if there are any, else everything. Integer
      leaves, such as quantized weights, never train.
    text_len: tokens of a row (bos, prefix, newline, suffix); None: as the longest example needs.
    seed: of the order of the examples and of dropout.
    log_every: steps between progress lines; None: ten lines in all; 0: print nothing.

  Raises ValueError or OSError for a bad example (naming its index, or line), a batch that
  does not divide over the mesh, a trainable that matches nothing, a model without a tokenizer.
  """
  data, ids = _data(vlm, examples)
  count, text_len, images = _survey(vlm, data, ids, text_len)
  total = math.ceil(epochs * count / max(batch_size, 1)) if steps is None else steps
  if total < 1 or batch_size < 1:
    raise ValueError(f"fit() would take {total} steps of {batch_size} examples; give at least one "
                     "of each.")
  rows = sharding.local_batch_rows(vlm.mesh, batch_size)
  rules = _rules(vlm.params, trainable)
  how = dict(decay=schedule, warmup_steps=total // 10 if warmup is None else warmup)
  horizon = schedules.TrainingHorizon(total)
  rate = _default_rate(vlm, rules) if lr is None else defaults.Default(lr, "")
  optimizer = optim.make(
      vlm.params, horizon, name=optimizer, lr=rate.value,
      schedule=[(regex, how if trains else None) for regex, trains in rules],
      weight_decay=weight_decay)
  log_every = max(1, total // 10) if log_every is None else log_every
  if log_every:
    print(optim.table(vlm.params, optimizer))
    if rate.reason:
      print(f"fit: lr {rate.value:g} {rate.reason}")
    seen = f" and {images} images" if images > 1 else " and an image" * images
    print(f"fit: {count} example{'s' * (count > 1)} of {text_len} text tokens{seen} each, {total} "
          f"step{'s' * (total > 1)} of {batch_size}", flush=True)
  stream = mixture.Mixture([dict(data=data, pp=_pp(images, PAD if ids else "text_layout"))], seed,
                           context=_context(vlm, text_len))
  batches = loader.train_batches(stream, batch_size, rows=rows)
  return _train(vlm, batches, optimizer, horizon, batch_size, seed, log_every)


def _data(vlm, examples):
  """(the `data` of the mixture's component, whether its examples are rows of token ids)."""
  if isinstance(examples, (str, os.PathLike)):
    return source.of_paths((os.fspath(examples),)), False
  if isinstance(examples, dict):
    examples = own.from_columns(examples)
  if not vlm.config.img and isinstance(examples, (list, tuple)):
    examples = [{"prefix": "", "suffix": x} if isinstance(x, str) else x for x in examples]
  listed = examples if isinstance(examples, (list, tuple)) else ()
  kinds = {isinstance(x, dict) and "tokens" in x for x in listed}
  if kinds != {True}:
    if True in kinds:
      raise ValueError("Some examples have 'tokens' and others have none: fit() takes texts or "
                       "token ids, not both.")
    return dict(name="memory", examples=examples), False
  rows, size = [], inputs.model_limits(vlm.config).vocab_size
  for i, example in enumerate(examples):
    try:
      rows.append(own.from_ids(example, size, bool(vlm.config.img)))
    except ValueError as e:
      raise ValueError(f"Example {i}: {e}") from e
  return dict(name="memory", examples=rows), True


def _context(vlm, text_len):
  return Context(vlm.tokenizer_name, text_len, vlm.image_size, image=bool(vlm.config.img))


def _pp(images, text):
  """Images as VLM.preprocess makes them; text: the op that lays it out as VLM.tokenize does."""
  return f"decode(exif=True)|resize(antialias=True)|{text}" if images else text


def _survey(vlm, data, ids, text_len):
  """(number of examples, length of their rows, images of each); reads every example."""
  tower = inputs.model_limits(vlm.config).image_size is not None
  if not vlm.tokenizer_name and not ids:
    raise ValueError("fit() needs a tokenizer and this model has none: load it from a source that "
                     'ships one, or give token ids, {"image": ..., "tokens": [...], "labels": '
                     "[...]}.")
  examples = source.get(**data)
  text = "" if ids else "text_layout(text_len=None)"
  preprocess = {has: builder.get_preprocess_fn(_pp(has, text), _context(vlm, None))
                for has in {tower, False}}

  def look(index):
    x = examples[index]
    for key in () if ids else ("prefix", "suffix"):
      if not isinstance(x.get(key), str):
        was = f"is a {type(x[key]).__name__}, not a string" if key in x else "is missing"
        raise ValueError(f"Example {x['_id']}: {key!r} {was}. An example is "
                         '{"image": ..., "prefix": "caption en", "suffix": "a cat"}, or has token '
                         "ids: training/examples.py.")
    if "image" in x and not tower:
      raise ValueError(f"Example {x['_id']} has an image, but this model is text-only.")
    row = preprocess["image" in x](x)
    return x["_id"], len(row["text"]) - 1, row["image"].shape if "image" in row else ()

  with concurrent.futures.ThreadPoolExecutor() as pool:  # decoders release the interpreter's lock
    rows = list(pool.map(look, range(len(examples))))
  first, _, shape = rows[0]
  if odd := next((row for row in rows if row[2] != shape), None):
    raise ValueError(f"Example {odd[0]} has {_count(odd[2])} but example {first} has "
                     f"{_count(shape)}; all need the same number, or none.")
  longest, most, _ = max(rows, key=lambda row: row[1])
  if text_len is None:
    text_len = -(-most // TEXT_MULTIPLE) * TEXT_MULTIPLE
  if most > text_len:
    raise ValueError(f"Example {longest} has {most} tokens, more than text_len={text_len}: shorten "
                     "the example, or leave text_len out to have it as long as they need.")
  return len(rows), text_len, 1 if len(shape) == 3 else shape[0] if shape else 0


def _count(shape):
  """In words, of an example's pixels [H, W, 3] or [F, H, W, 3], or () where it has none."""
  if not shape:
    return "no image"
  return "one 'image'" if len(shape) == 3 else f"{shape[0]} 'images'"


def _rules(params, trainable):
  """((regex, is it trainable), ...)."""
  if trainable is None:
    adapters = any(re.fullmatch(lora.TRAINABLE, name) for name in trees.names(params))
    trainable = lora.TRAINABLE if adapters else ((".*", True),)
  return ((trainable, True), (".*", False)) if isinstance(trainable, str) else trainable


def _default_rate(vlm, rules):
  """The Default of adapters where the rules let nothing else train, whichever of them it is."""
  trains = trees.assign(trees.names(vlm.params), rules, "trainable")
  adapters = all(re.fullmatch(lora.TRAINABLE, name) for name, train in trains.items() if train)
  size = presets.parameters(paligemma.to_dict(vlm.config))
  return defaults.learning_rate(size, adapters)


def _train(vlm, batches, optimizer, horizon, batch_size, seed, log_every):
  like, total = jax.eval_shape(lambda x: x, vlm.params), horizon.total
  state, shardings = _start(vlm.params, optimizer, vlm.mesh)
  update = _Step(vlm.model, optimizer, seed, state, shardings)
  s = TrainSetup(vlm.model, vlm.mesh, horizon, optimizer, None, shardings, update)
  vlm.params = None  # frees the arrays that only the VLM held
  progress = reporting.Progress(0, total, batch_size)
  tokens = vlm.config.img.tokens if vlm.config.img else 0
  try:
    for step, _, metrics, *_ in loop.run(
        s, state, batches, progress, nan_guard.NaNGuard(s, seed, {}, NOT_FINITE), first=0,
        total=total, layout=packing.Layout(batch_size, image_tokens=tokens)):
      if log_every and loop.due(step, log_every, total):
        progress.line(step, float(metrics["loss"]))
  except KeyboardInterrupt:
    print(f"fit: interrupted; the parameters are those of step {len(update.history)} of {total}")
  finally:
    vlm.params = jax.tree.map(lambda x, was: x if x.dtype == was.dtype else x.astype(was.dtype),
                              update.state.params, like)
  rows = jax.device_get(update.history)
  return {key: [np.asarray(row[key]).item() for row in rows] for key in ("step", "loss", "lr")}


def _start(params, optimizer, mesh):
  """(TrainState on the mesh, shardings of it without the frozen parameters).

  Trainable parameters are float32 copies, which the step may donate: other VLMs can hold the
  originals.
  """
  where = sharding.tree_sharding(mesh, params, note=lambda line: None)
  stays = lambda x: getattr(getattr(x, "sharding", None), "mesh", None) == mesh
  params = jax.tree.map(lambda x, s: x if stays(x) else jax.device_put(x, s), params, where)
  trained, frozen = optim.partition(params, optimizer.trainable)

  def begin(trained):
    copy = jax.tree.map(lambda x: jnp.array(x, jnp.float32, copy=True), trained)
    return steps.start(copy, optimizer)
  shardings = sharding.state_sharding(
      mesh, jax.eval_shape(begin, trained), jax.tree.map(lambda x: x.sharding, trained))
  state = jax.jit(begin, out_shardings=shardings)(trained)
  return state.replace(params=optim.combine(params, state.params, frozen)), shardings


class _Step:
  """(state, batch) -> (state, metrics); donates the trainable parameters alone, as other VLMs can
  hold the frozen ones. Keeps the last state and the metrics of all steps."""

  def __init__(self, model, optimizer, seed, state, shardings):
    self.state, self.history, self._trains = state, [], optimizer.trainable
    train_step = steps.make_train_step(model, optimizer, seed)
    like = jax.eval_shape(lambda x: x, state.params)

    def update(state, frozen, batch):
      whole = state.replace(params=optim.combine(like, state.params, frozen))
      new, metrics = train_step(whole, batch)
      return self._split(new)[0], metrics
    self._jitted = jax.jit(update, donate_argnums=0, out_shardings=(shardings, None))

  def _split(self, state):
    trained, frozen = optim.partition(state.params, self._trains)
    return state.replace(params=trained), frozen

  def lower(self, state, batch):
    return self._jitted.lower(*self._split(state), batch)

  def __call__(self, state, batch):
    trained, frozen = self._split(state)
    with _uninterrupted():
      new, metrics = self._jitted(trained, frozen, batch)
      self.state = new.replace(params=optim.combine(state.params, new.params, frozen))
      step = len(self.history) + 1
      self.history.append({"step": step, "loss": metrics["loss"], "lr": metrics["lr"]})
    return self.state, metrics


@contextlib.contextmanager
def _uninterrupted():
  """Holds an interrupt back to the end of the block, within which the old state is donated and the
  new one has no name yet."""
  if threading.current_thread() is not threading.main_thread():  # others get no signals
    yield
    return
  came = []
  before = signal.signal(signal.SIGINT, lambda *args: came.append(args))
  try:
    yield
  finally:
    signal.signal(signal.SIGINT, before)
  if came and callable(before):
    before(*came[0])
