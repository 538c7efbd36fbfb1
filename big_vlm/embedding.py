"""Vectors of images and texts, and what is made of them: VLM.embed, similarity and classify.

Images and texts are embedded in batches of at most 64, fewer where an image has many patches. A
batch is rounded up to a bucket, and padding changes no result. B batch, D width of a vector, T
tokens of a text, I images, L labels, N patches of a NaFlex image.
"""
import dataclasses
import functools
import itertools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from big_vlm import distributed, image_input, inputs, presets, prompt_input, sharding
from big_vlm.decode.session import MAX_PROMPTS
from big_vlm.families import paligemma
from pp import naflex
from pp.canonical import SPELLINGS, canonical
from pp.names import pick
from pp.ops_text import fit_length

PATCHES = 1 << 14  # of all images that are embedded side by side
MAX_PATCHES = 1 << 14  # of a NaFlex image; its attention takes the square of that


@dataclasses.dataclass(frozen=True)
class EmbedConfig:
  """How images and texts are read: the options of VLM.embed, which explains them. Raises ValueError
  for invalid ones."""
  resize: str | None = None
  spelling: str = "ascii"
  max_num_patches: int = 256

  def __post_init__(self):
    if self.resize is not None:
      pick(image_input.RESIZES, self.resize, "resize")
    pick(SPELLINGS, self.spelling, "spelling of texts")
    n = self.max_num_patches
    if not isinstance(n, (int, np.integer)) or not 1 <= n <= MAX_PATCHES:
      raise ValueError(f"max_num_patches={n!r} is not a whole number from 1 to {MAX_PATCHES:,}.")


@dataclasses.dataclass(frozen=True)
class Classification:
  """What VLM.classify says of an image."""
  label: str  # the likeliest
  index: int  # of it among the labels
  logits: np.ndarray  # float32 [L], as VLM.similarity gives them
  probabilities: np.ndarray  # float32 [L], sigmoids: each label alone, so they do not sum to 1


def of_images(model, params, mesh, images, config):
  """float32 [B, D] of unit length; of a tower without a pooling head, such as PaliGemma's, the mean
  over the patches of what the decoder reads."""
  tower = model.config.img
  if tower is None:
    raise ValueError(f"This model ({presets.describe(model.config)}) has no image tower: "
                     "embed(texts=...) takes texts.")
  fit = max(1, PATCHES // (config.max_num_patches if tower.naflex else tower.patches))
  most = min(MAX_PROMPTS, 1 << fit.bit_length() - 1)  # a bucket
  numbered, found = enumerate(one_each(images)), []
  while part := [_pixels(image, i, tower, config) for i, image in itertools.islice(numbered, most)]:
    rows = _padded(part, mesh)
    if tower.naflex:
      batch = {key: np.stack(arrays) for key, arrays in zip(("image", "grid"), zip(*rows))}
    else:
      batch = {"image": inputs.stack_images(rows)}
    found.append(_run(model, params, mesh, batch)[:len(part)])
  return np.concatenate(found)


def one_each(images):
  """An iterator over the images of one, a list, an iterator or a batch array of them."""
  if images is None:
    raise ValueError("There is nothing to embed: give images=... or texts=...")
  if hasattr(images, "__array__") and not isinstance(images, Image.Image):
    images = np.asarray(images)
    images = list(images) if images.ndim > 3 else [images]
  elif hasattr(images, "__next__"):
    first = list(itertools.islice(images, 1))
    images = itertools.chain(first, images) if first else []
  elif not isinstance(images, (list, tuple)):
    images = [images]
  if isinstance(images, (list, tuple)) and not images:
    raise ValueError("There are 0 images: give one image, or a list with one or more.")
  return iter(images)


def _pixels(image, number, tower, config):
  """What the tower takes of an image: an array, and of a NaFlex tower its grid beside it."""
  if image is None or isinstance(image, (list, tuple)):
    raise ValueError(f"Image {number} is {'None' if image is None else 'a list'}: embed() gives a "
                     "vector for each image, so each entry of the list is one image.")
  if tower.naflex:
    return naflex_pixels(image, tower.patch, config)
  return image_input.pixels(image, tower.image_size, config.resize or default_resize(tower))


def preprocess(image, tower):
  """An image as a tower takes it, [image_size, image_size, 3]; ValueError for NaFlex."""
  if tower is None:
    raise ValueError("This model has no image tower.")
  if tower.naflex:
    raise ValueError("A NaFlex tower takes an image as patches: vlm.embed(images) makes them.")
  return image_input.pixels(image, tower.image_size, default_resize(tower))


def naflex_pixels(image, patch, config):
  """(patches float32 [N, patch * patch * 3], grid int32 [2]) of an image, padded to N."""
  image = image_input.read(image)
  grid = naflex.grid(*image.shape[:2], patch, config.max_num_patches)
  resize = config.resize or "naflex"
  pixels = image_input.RESIZES[resize](image, (grid[0] * patch, grid[1] * patch))
  if pixels.dtype == np.uint8:
    pixels = pixels.astype(np.float32) / 127.5 - 1
  rows = naflex.patches(pixels, patch)
  padding = config.max_num_patches - len(rows)
  return np.pad(rows, ((0, padding), (0, 0))), np.array(grid, np.int32)


def default_resize(tower):
  """SigLIP's images were squashed without antialias, PaliGemma's with it."""
  return "big_vision" if tower.pool == "map" else "antialias"


def of_texts(model, params, mesh, tokenizer, texts, config):
  """float32 [B, D] of unit length of strings or lists of token ids."""
  rows = token_rows(model.config, tokenizer, prompt_input.as_list(texts, "text"), config)
  found = []
  for first in range(0, len(rows), MAX_PROMPTS):
    part = rows[first:first + MAX_PROMPTS]
    batch = {"text": np.stack(_padded(part, mesh))}
    found.append(_run(model, params, mesh, batch)[:len(part)])
  return np.concatenate(found)


def token_rows(config, tokenizer, texts, options):
  """[int32 [T]] as the text tower reads them: pieces, eos, padding. A longer text is cut and keeps
  its last token, the eos; a warning says how many were."""
  tower = config.txt
  if tower is None:
    raise ValueError(f"This model ({presets.describe(config)}) has no text tower: only images can "
                     "be embedded. SigLIP's two towers embed both.")
  spell = SPELLINGS[options.spelling]
  ids = [_ids(i, text, tokenizer, spell, tower.vocab_size) for i, text in enumerate(texts)]
  if cut := sum(len(row) > tower.length for row in ids):
    warnings.warn(f"{cut} of {len(ids)} texts have more than the {tower.length} tokens that the "
                  "text tower takes: they were cut, and keep their last token.", stacklevel=4)
  return [fit_length(np.array(row, np.int32), tower.length, tower.pad_token, sticky_end=True)
          for row in ids]


def _ids(number, text, tokenizer, spell, vocab_size):
  if isinstance(text, str):
    if tokenizer is None:
      raise ValueError(f"The text {text[:40]!r} is a string, but the model came without a "
                       "tokenizer: give token ids, eos included, or load it from a source that "
                       "ships one.")
    return tokenizer.to_int(spell(text), eos=True)
  ids = prompt_input.check_ids(text, "text")
  if not ids:
    raise ValueError(f"Text {number} has no tokens: an empty string is the eos alone.")
  if not 0 <= min(ids) <= max(ids) < vocab_size:
    raise ValueError(f"Text {number} has the token id {max(ids, key=abs)}, which is not in the "
                     f"vocabulary of {vocab_size}: is this the model's tokenizer?")
  return ids


def similarity(model, params, zi, zt):
  """Logits float32 [I, T] of vectors of images [I, D] and of texts [T, D]."""
  scale_and_bias = {name: np.asarray(params[name]) for name in ("t", "b")}
  return np.asarray(model.apply({"params": scale_and_bias}, zi, zt, method="similarity"))


def probabilities(logits):
  """Sigmoids, float32; by way of float64, which keeps those of pairs that do not belong together:
  logits of -20 and less."""
  from scipy import special  # here: slow to import
  return special.expit(np.asarray(logits, np.float64)).astype(np.float32)


def check_pair(config):
  """Raises ValueError for a model that does not have both towers of SigLIP."""
  if not config.logit_specs:
    raise ValueError(f"This model is {presets.describe(config)}: comparing images with texts takes "
                     "SigLIP's two towers.")


def prompts(labels, templates):
  """[[prompt of each template] of each label], canonical as zero-shot prompts are.

  Raises ValueError for labels that read the same, for templates without "{}", and for none.
  """
  labels, templates = strings(labels, "labels"), strings(templates or ["{}"], "templates")
  names, seen = [canonical(label) for label in labels], {}
  for label, name in zip(labels, names):
    if not name:
      raise ValueError(f"The label {label!r} has no letters or digits.")
    if name in seen:
      raise ValueError(f"The labels {seen[name]!r} and {label!r} read the same, {name!r}: give "
                       "each label once.")
    seen[name] = label
  if odd := [t for t in templates if t.count("{}") != 1]:
    raise ValueError(f"The template {odd[0]!r} does not have '{{}}' once, where the label goes.")
  templates = [canonical(t, keep="{}") for t in templates]
  return [[t.replace("{}", name) for t in templates] for name in names]


def strings(given, what):
  """[str] of "labels" or "templates"; ValueError for what is none."""
  if isinstance(given, str) and what == "templates":
    given = [given]
  if isinstance(given, str) or not hasattr(given, "__iter__"):
    raise ValueError(f"The {what} are {str(given)[:60]!r}: give a list of strings.")
  given = list(given)
  if not given or not all(isinstance(x, str) for x in given):
    raise ValueError(f"The {what} are a list of one or more strings, not {str(given)[:60]}.")
  return given


def label_vectors(vectors, count):
  """[count, D] of the vectors of the prompts of `count` labels: means, of length 1 again."""
  means = vectors.reshape(count, -1, vectors.shape[-1]).mean(axis=1)
  return means / (np.linalg.norm(means, axis=-1, keepdims=True) + 1e-8)


def classify(model, params, labels, zi, zt):
  """[Classification] of images by their vectors and those of the labels."""
  logits = similarity(model, params, zi, zt)
  return [Classification(labels[at], int(at), row, probabilities(row))
          for at, row in zip(logits.argmax(axis=1), logits)]


def _padded(rows, mesh):
  """The rows, and the last one again up to a bucket that the devices divide."""
  count = inputs.round_up(inputs.bucket(len(rows)), sharding.batch_rows(mesh))
  return rows + rows[-1:] * (count - len(rows))


def _run(model, params, mesh, batch):
  batch = sharding.make_global_array(mesh, batch)
  return np.asarray(distributed.fetch(vectors(model, params, batch)))


@functools.partial(jax.jit, static_argnames=("model", "unit"))
def vectors(model, params, batch, unit=True):
  """float32 [B, D] of a batch on the devices, of "text" or of "image" and maybe its "grid".

  unit=False: as the tower pools them, of any length.
  """
  if "text" in batch:
    x = model.apply({"params": params}, batch["text"], method="embed_text")
  else:
    x = model.apply({"params": params}, batch["image"], grid=batch.get("grid"),
                    method="embed_image")
  x = x.astype(jnp.float32)
  x = x if x.ndim == 2 else x.mean(axis=1)
  return paligemma.normalized(x) if unit else x
