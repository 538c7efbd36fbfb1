"""Evaluator types that compare vectors of images, and of texts, instead of decoding answers.

Such a type is a module with score() and PERCENT, as all have them, and

  TOWERS    2: it takes SigLIP's two towers; 1: the image tower of any model is enough
  begin(vectors, options) -> what is known without the model, a JSON value: the names of classes
  prepare(vectors, options, known) -> what compare() needs of the model, before the first example
  compare(found, prepared) -> [{field: JSON value}], of the predictions of images, by vectors [B, D]
  check_example(p, known, options)   completes a prediction; ValueError for one that cannot count
  finish(predictions, known)         adds what takes all predictions
and optionally
  UNIT      False: vectors come as the tower pools them, not of length 1
  texts(predictions) -> [text], whose vectors are a third argument of finish()
  OF_SAMPLE   why the metrics of a part of the examples are not those of all

options: the arguments of score(), as attributes. Process 0 alone runs finish() and texts().

B batch, D width of a vector.
"""
import base64
import inspect
import types
import warnings

import numpy as np

from big_vlm import distributed, embedding, presets, sharding
from big_vlm.data import loader, source
from evaluators import decoding

LOOKED_AT = 16  # examples, before the model is


class Vectors:
  """The vectors of one evaluation. module: the type; args: of its score(); data: of the config."""

  def __init__(self, name, module, args, data, model, params, tokenizer, mesh, batch_size,
               preprocess):
    self.name, self.data = name, data
    self._module, self._options = module, options(module, args)
    self._model, self._params, self._tokenizer = model, params, tokenizer
    self._mesh, self._batch_size, self._preprocess = mesh, batch_size, preprocess
    self._known = self._prepared = None

  def begin(self, examples):
    """Looks at the first examples of a Source, and then prepares."""
    self.look(examples)
    self._prepared = self._module.prepare(self, self._options, self._known)

  def look(self, examples):
    """Raises ValueError where the first examples of a Source cannot be compared."""
    self._known = self._module.begin(self, self._options)
    first = range(min(LOOKED_AT, self._batch_size, len(examples)))
    device, host = loader.split_batch(loader.collate(
        [self._preprocess(examples[i]) for i in first]))
    if "image" not in device or device["image"].ndim != 4:
      raise ValueError(f"The eval {self.name!r} compares vectors of images: its pp makes one "
                       "'image' of each example, of the model's size: 'decode|resize'.")
    for j in first:
      self._check_example(decoding.known_of(device, host, j))

  def identity(self):
    """A JSON value: on what the predictions depend beside data and model."""
    return [vars(self._options), self._known]

  def answer(self, device, at, real):
    """The answer() of decoding.predictions()."""
    del at
    found = finite(self.name, self._images(device))
    fields = self._module.compare(found, self._prepared)
    return lambda j, place: fields[place]

  def finish(self, predictions):
    """Completes the predictions, which process 0 has, and others not."""
    of_texts = ()
    for p in predictions:
      self._check_example(p)
    if hasattr(self._module, "texts"):
      said = distributed.broadcast_from_primary(lambda: self._module.texts(predictions))
      of_texts = (self.of_texts(said, self._options.spelling),)
    if distributed.is_primary_process():
      self._module.finish(predictions, self._known, *of_texts)

  def _check_example(self, p):
    self._module.check_example(p, self._known, self._options)

  def of_texts(self, texts, spelling="ascii"):
    """float32 [Q, D] of unit length; says how many were cut."""
    with warnings.catch_warnings(record=True) as caught:
      warnings.simplefilter("always")
      found = embedding.of_texts(self._model, self._params, self._mesh, self._tokenizer,
                                 list(texts), embedding.EmbedConfig(spelling=spelling))
    for warning in caught:
      print(f"{self.name}: {warning.message}", flush=True)
    return finite(self.name, found)

  def of_examples(self, examples):
    """float32 [N, D] of the images of examples, a Source, on every process."""
    rows = sharding.local_batch_rows(self._mesh, self._batch_size)
    batches, _ = loader.eval_batches(examples, self._preprocess, self._batch_size, rows=rows)
    found = [self._images(loader.split_batch(batch)[0]) for batch in batches]
    return finite(self.name, np.concatenate(found)[:len(examples)])

  def class_names(self, key):
    """[name] of the classes that the data set numbers under a key. Raises ValueError for none."""
    names = getattr(source.get(**self.data), "class_names", lambda key: None)(key)
    if not names:
      raise ValueError(f"The eval {self.name!r} needs class_names=: the names of the classes, or a "
                       f"file with one on each line. The data set names none of {key!r}.")
    return names

  def _images(self, device):
    batch = sharding.make_global_array(self._mesh, {"image": device["image"]}, self._batch_size)
    return distributed.fetch(embedding.vectors(
        self._model, self._params, batch, unit=getattr(self._module, "UNIT", True)))


def finite(name, found):
  """The vectors; ValueError for NaN or infinity, which would compare as if all were right."""
  if not np.isfinite(found).all():
    raise ValueError(f"The eval {name!r}: the model gives vectors that are not finite.")
  return found


def options(module, args):
  """The arguments of a type's score(), defaults included, as attributes."""
  known = list(inspect.signature(module.score).parameters.values())[2:]
  return types.SimpleNamespace(**{p.name: p.default for p in known} | args)


def check_model(name, module, config):
  """Raises ValueError for a model (PaliGemmaConfig) that a type cannot evaluate."""
  if module.TOWERS == 2 and not config.logit_specs or config.img is None:
    raise ValueError(f"The eval {name!r} takes {'both towers of SigLIP' * (module.TOWERS == 2)}"
                     f"{'an image tower' * (module.TOWERS == 1)}, and this model is "
                     f"{presets.describe(config)}.")
  if config.img.naflex:
    raise ValueError(f"The eval {name!r} takes square images, and a NaFlex tower takes patches: "
                     "embed them by vlm.embed().")


def packed(vector):
  """A vector as text, for files: base64 of float32."""
  return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()


def unpacked(texts):
  """float32 [N, D] of packed vectors."""
  return np.stack([np.frombuffer(base64.b64decode(text), "<f4") for text in texts])
