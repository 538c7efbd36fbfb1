"""Ways in which another framework may read a request, each a change of our own reading.

A difference is explained by the reading under which our own model gives the other side's numbers.
T tokens of text, P of images, V vocabulary.
"""
import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from big_vlm import image_input, inputs, trees
from big_vlm.checkpoints import load
from big_vlm.families import paligemma
from big_vlm.nn import attention
from pp import ops_image, text_layout

MORE = 16  # tokens that a prompt may have under another reading
RELEASED_WINDOW = 4096  # of Gemma 2, whose layers PaliGemma 2 has without a window


@dataclasses.dataclass(frozen=True)
class Reading:
  """How a side reads a request; the defaults are ours."""
  kind: str = "none"  # what differs: "mask", "resize", ...
  name: str = "as exported"
  config: dict = dataclasses.field(default_factory=dict)  # fields of the decoder that change
  # or "causal text", where images are a block; "causal"; "bidirectional", the prompt sees itself
  mask: str = "prefix"
  pixels: Callable | None = None  # (image [H, W, 3], side) -> [side, side, 3]
  ids: Callable | None = None  # (tokenizer, prompt, whether it sees) -> [int]
  image_scale: float = 1.  # of the image's features
  blind: bool = False  # the image is left out
  dtype: str = "float32"


def _squashed(resize):
  return lambda image, side: image_input.RESIZES[resize](image, (side, side))


def _nearest(image, side):
  return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.NEAREST))


def _cropped(image, side):
  """Its shorter side becomes `side`, and the middle is kept, as for ImageNet."""
  scale = side / min(image.shape[:2])
  h, w = (max(round(n * scale), side) for n in image.shape[:2])
  image = ops_image.resize_image(image, (h, w), "bilinear", True)
  y, x = (h - side) // 2, (w - side) // 2
  return image[y:y + side, x:x + side]


def _padded(image, side):
  """Its longer side becomes `side`; black below or on the right."""
  scale = side / max(image.shape[:2])
  h, w = (max(round(n * scale), 1) for n in image.shape[:2])
  out = np.zeros((side, side, 3), np.uint8)
  out[:h, :w] = ops_image.resize_image(image, (h, w), "bilinear", True)
  return out


def _scaled(change):
  def pixels(image, side):
    return change(_squashed("antialias")(image, side).astype(np.float32) / 255).astype(np.float32)
  return pixels


_IMAGENET = np.array([[.485, .456, .406], [.229, .224, .225]])


def _no_bos(tokenizer, prompt, sees):
  return text_layout.prompt_ids(tokenizer, prompt, sees)[1:]


def _bos_twice(tokenizer, prompt, sees):
  ids = text_layout.prompt_ids(tokenizer, prompt, sees)
  return ids[:1] + ids


def _no_newline(tokenizer, prompt, sees):
  return text_layout.prompt_ids(tokenizer, prompt, False)


def _two_newlines(tokenizer, prompt, sees):
  ids = text_layout.prompt_ids(tokenizer, prompt, sees)
  return ids + tokenizer.to_int(text_layout.SEPARATOR)


def _space(tokenizer, prompt, sees):
  return text_layout.prompt_ids(tokenizer, f" {prompt}", sees)


def _with_eos(tokenizer, prompt, sees):
  return text_layout.prompt_ids(tokenizer, prompt, sees) + [tokenizer.eos_token]


def _placeholder(tokenizer, prompt, sees):
  ids = text_layout.prompt_ids(tokenizer, prompt, sees)
  return ids[:1] + tokenizer.to_int(text_layout.PLACEHOLDER) + ids[1:]


def alternatives(config, longest):
  """[Reading] that may explain a difference of a model of this PaliGemmaConfig; longest: tokens of
  the longest request, with its images and its answer."""
  llm, sees = config.llm, config.img is not None
  found = []
  add = lambda kind, name, **changes: found.append(Reading(kind, name, **changes))
  tokenizer = lambda name, ids: add("tokenizer", name, ids=ids)
  if sees:
    add("mask", "the prompt's text is causal", mask="causal text")
    add("mask", "the prompt is causal, its image too", mask="causal")
    tokenizer("the newline after the prompt is missing", _no_newline)
    tokenizer("the prompt has two newlines", _two_newlines)
    tokenizer("<image> is read as text", _placeholder)
  else:
    add("mask", "the prompt sees all of itself", mask="bidirectional")
    tokenizer("the prompt has a newline", lambda tok, prompt, sees: text_layout.prompt_ids(
        tok, prompt, True))
  tokenizer("bos is missing", _no_bos)
  tokenizer("bos comes twice", _bos_twice)
  tokenizer("the prompt begins with a space", _space)
  tokenizer("the prompt ends with eos", _with_eos)
  if sees:
    for name, text in (("pil_bicubic", "bicubic with antialias, by Pillow"),
                       ("keras_hub", "bicubic with antialias, of floats"),
                       ("big_vision", "bilinear without antialias")):
      add("resize", f"images are resized {text}", pixels=_squashed(name))
    add("resize", "images are resized to the nearest pixel", pixels=_nearest)
    add("resize", "the middle of images is cropped", pixels=_cropped)
    add("resize", "images keep their ratio and are padded", pixels=_padded)
    add("pixels", "pixels lie in [0, 1]", pixels=_scaled(lambda x: x))
    add("pixels", "pixels have ImageNet's mean and deviation",
        pixels=_scaled(lambda x: (x - _IMAGENET[0]) / _IMAGENET[1]))
    add("pixels", "red and blue are swapped", pixels=_scaled(lambda x: x[..., ::-1] * 2 - 1))
    add("image", "the image is not seen", blind=True)
    add("image features", "they are divided by sqrt(width)", image_scale=llm.width**-.5)
    add("image features", "they are multiplied by sqrt(width)", image_scale=llm.width**.5)
  for field, what in (("final_softcap", "final logits"), ("attn_softcap", "attention scores")):
    if (cap := getattr(llm, field, None)) is not None:
      add("soft-cap", f"{what} are not capped at {cap:g}", config={field: None})
  if getattr(llm, "final_softcap", 0) is None and getattr(llm, "post_norms", False):
    add("soft-cap", "final logits are capped at 30", config={"final_softcap": 30.})
  found += _windows(llm, longest)
  if scale := _other_query_scale(llm):
    add("query scale", f"queries are multiplied by {scale:.4g}", config={"query_scale": scale})
  return found


def _windows(llm, longest):
  """Readings of local layers; none of requests that are shorter than the window."""
  if not hasattr(llm, "window"):
    return []
  if llm.window is not None:
    other = [m for m in attention.SLIDING_WINDOW_MODES if m != llm.sliding_window_mode]
    return [Reading("window", f"there is no sliding window of {llm.window}",
                    config={"window": None}),
            *(Reading("window", f"the sliding window of {llm.window} is {mode}",
                      config={"sliding_window_mode": mode}) for mode in other)
            ] if longest > llm.window else []
  if not llm.post_norms or longest <= RELEASED_WINDOW:
    return []
  return [Reading("window", f"there is a sliding window of {RELEASED_WINDOW}, {mode}",
                  config={"window": RELEASED_WINDOW, "sliding_window_mode": mode})
          for mode in attention.SLIDING_WINDOW_MODES]


def _other_query_scale(llm):
  """Gemma 2's configs and those made with an older script disagree: head_dim or width / heads."""
  if not hasattr(llm, "query_scale"):
    return None
  now = llm.query_scale or llm.head_dim**-.5
  scales = (llm.head_dim**-.5, (llm.width / llm.heads)**-.5)
  return next((s for s in scales if abs(s / now - 1) > 1e-6), None)


def both(a, b):
  """The Reading with the changes of two, of different kinds."""
  plain = Reading()
  pick = lambda field: next((value for r in (a, b) if (value := getattr(r, field)) !=
                             getattr(plain, field)), getattr(plain, field))
  changes = {f.name: pick(f.name) for f in dataclasses.fields(Reading)}
  return Reading(**changes | {"kind": f"{a.kind} and {b.kind}", "name": f"{a.name}, and {b.name}",
                              "config": a.config | b.config})


class Scorer:
  """Our model's log-probabilities of given answers, under any Reading: one program for all whose
  config and dtype are those of the model."""

  def __init__(self, vlm, probes):
    self._vlm, self._cast = vlm, {"float32": vlm.params}
    longest = max(len(p.prompt_ids) + p.max_new_tokens for p in probes)
    limits = inputs.model_limits(vlm.config)
    self._length = inputs.bucket(longest + MORE, limits.tokens - limits.image_tokens)

  def logprobs(self, reading, probe, tokens):
    """(log-probabilities float32 [N] of tokens [int] after the probe's prompt, and of the likeliest
    token at each place)."""
    vlm, config = self._vlm, self._vlm.config
    sees = config.img is not None
    ids = (reading.ids or text_layout.prompt_ids)(vlm.tokenizer, probe.prompt, sees)
    length = max(self._length, len(ids) + len(tokens))
    row = text_layout.layout(ids, list(tokens), length, sees)
    valid = np.arange(length) < len(ids) + len(tokens)
    mask_ar = row["mask_ar"]
    if reading.mask == "bidirectional":
      mask_ar = (np.arange(length) >= len(ids)).astype(np.int32)
    elif reading.mask == "causal text":
      mask_ar = np.ones_like(mask_ar)
    image = None
    if sees and not reading.blind:
      pixels = reading.pixels or _squashed("antialias")
      image = pixels(image_input.read(probe.image), config.img.image_size)[None]
      image = image / np.float32(127.5) - 1 if image.dtype == np.uint8 else image
    logits = _logits(self._model(reading), self._params(reading.dtype), row["text"][None],
                     mask_ar[None], valid[None], image, np.float32(reading.image_scale),
                     reading.mask == "causal")
    at = np.arange(len(tokens)) + len(ids) - 1
    return jax.device_get(_of_tokens(logits[0, at], np.asarray(tokens)))

  def moved_by_rounding(self, reading, probe, tokens, found):
    """How far the log-probabilities `found` are from those of a resize that rounds otherwise."""
    if reading.pixels or reading.blind or not probe.image:
      return 0.
    other, _ = self.logprobs(dataclasses.replace(reading, pixels=_squashed("pil_bilinear")), probe,
                             tokens)
    return float(np.abs(other - found).max())

  def _model(self, reading):
    config = paligemma.with_dtype(self._vlm.config, reading.dtype)
    llm = dataclasses.replace(config.llm, **reading.config)
    return paligemma.PaliGemma(dataclasses.replace(config, llm=llm))

  def _params(self, dtype):
    if dtype not in self._cast:
      self._cast[dtype] = trees.map_with_names(
          lambda name, x: x.astype(load.dtype_of(name, dtype)), self._vlm.params)
    return self._cast[dtype]


@functools.partial(jax.jit, static_argnames="model")
def _logits(model, params, text, mask_ar, valid, image, image_scale, causal):
  def run(m):
    x, tokens = m.embed(text, mask_ar, image, valid)
    first = x.shape[1] - text.shape[1]
    scale = jnp.where(jnp.arange(x.shape[1]) < first, image_scale, 1)[None, :, None]
    tokens = tokens.replace(block=jnp.where(causal, tokens.position, tokens.block))
    hidden, _ = m.llm(x * scale.astype(x.dtype), tokens)
    return m.llm.logits(hidden[:, first:])
  return model.apply({"params": params}, method=run)


@jax.jit
def _of_tokens(logits, tokens):
  found = jax.nn.log_softmax(logits)
  return jnp.take_along_axis(found, tokens[:, None], axis=-1)[:, 0], jnp.max(found, axis=-1)
