"""PaliGemma (arXiv 2407.07726, 2412.03555): a ViT whose tokens, projected, precede the text.

Also its parts, and SigLIP (arXiv 2303.15343): a ViT and a text tower, whose vectors are compared.

B batch, F frames or images of an example, P tokens of an image, T text, S all tokens, D width,
V vocabulary.
"""
import dataclasses
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from big_vlm import families
from big_vlm.families import spec
from big_vlm.formats import config_json
from big_vlm.nn import attention, variants
from pp.names import RENAMED, check_names


@dataclasses.dataclass(frozen=True)
class PaliGemmaConfig:
  img: Any  # the Config of a tower; None: a text-only model, such as Gemma
  llm: Any  # the Config of a decoder; None: SigLIP's two towers, or one of them
  txt: Any = None  # the Config of a text tower, of SigLIP; the image tower then pools

  def __post_init__(self):
    if self.llm and self.txt:
      raise ValueError("A model has a decoder, 'llm', or a text tower, 'txt', not both.")
    if self.llm and self.img and self.img.naflex:
      raise ValueError("The tower of a PaliGemma reads square images: naflex=True is for towers "
                       "that pool. init.img takes a NaFlex tower's weights all the same.")
    width = lambda tower: tower.out_width or tower.width
    if self.txt and self.img and (self.img.pool == "none" or width(self.img) != width(self.txt)):
      raise ValueError("Two towers give vectors of the same width: 'img' has pool='map', and the "
                       "out_width of 'txt' is the width of 'img'.")

  @property
  def parts(self):
    """{prefix of its leaves: config} of the towers and the decoder that there are."""
    parts = (("img/", self.img), ("txt/", self.txt), ("llm/", self.llm))
    return {prefix: c for prefix, c in parts if c}

  @property
  def logit_specs(self):
    """The ParamSpecs of the logits' scale and bias, which two towers have."""
    return families.LOGIT if self.img and self.txt else {}


def config(img=None, llm=None, dtype="float32", txt=None):
  """From dicts {"variant": row, **changes}; the head of PaliGemma's tower gets the decoder's width.

  With a text tower the image tower pools by default.
  """
  of = lambda table, what, part, **more: variants.config(
      table, what, **{"dtype": dtype, **more, **part}) if part else None
  llm = of(families.DECODER_VARIANTS, "decoder variant", llm)
  txt = of(families.TEXT_VARIANTS, "text tower variant", txt)
  more = {"out_width": llm.width} if llm else {"pool": "map"} if txt else {}
  img = of(families.TOWER_VARIANTS, "ViT variant", img, **more)
  return PaliGemmaConfig(img, llm, txt)


def own_config(parts, vocab_size=None):
  """config() of a user's dicts {"img": ..., "llm": ...} or {"img": ..., "txt": ...}; vocab_size:
  the default of the part that reads text.

  Raises ValueError for a part without a "variant", for unknown names, and for sizes of no model.
  """
  check_names(parts, ("img", "llm", "txt"), "A model's config")
  for part, variants_of in (("img", families.TOWER_VARIANTS), ("llm", families.DECODER_VARIANTS),
                            ("txt", families.TEXT_VARIANTS)):
    if (row := parts.get(part)) and not (isinstance(row, dict) and "variant" in row):
      raise ValueError(f"{part!r} of a model's config is a dict with a 'variant', which is one of "
                       f"{', '.join(variants_of)}; not {str(row)[:80]}.")
  if not any(parts.values()):
    raise ValueError("A model's config has an 'img', an 'llm', or both, or an 'img' and a 'txt'.")
  for part in ("llm", "txt"):
    if vocab_size and parts.get(part):
      parts = parts | {part: {"vocab_size": vocab_size} | parts[part]}
  config_json.check_sizes(parts, "The model's config")
  return config(**parts)


def modernize(saved):
  """What config() takes, of the dicts in a model.json of this or an earlier version."""
  def modern(field, value):
    renamed = field in ("window_rule", "remat") and value in RENAMED
    return RENAMED.get(field, field), RENAMED[value] if renamed else value
  return {part: dict(modern(*item) for item in x.items()) if isinstance(x, dict) else x
          for part, x in saved.items()}


def to_dict(config):
  """The dicts that config() takes, with the row that needs the fewest changes."""
  parts = {"img": config.img and variants.to_dict(families.TOWER_VARIANTS, config.img),
           "llm": config.llm and variants.to_dict(families.DECODER_VARIANTS, config.llm)}
  return parts | ({"txt": variants.to_dict(families.TEXT_VARIANTS, config.txt)} if config.txt
                  else {})


def with_dtype(config, dtype):
  """The config with activations of another dtype."""
  change = lambda part: part and dataclasses.replace(part, dtype=dtype)
  return PaliGemmaConfig(change(config.img), change(config.llm), change(config.txt))


def with_image_size(config, side):
  """The config with images of another side in pixels, None for its own; ValueError for no image."""
  if side is None:
    return config
  if not config.img:
    raise ValueError(f"image_size={side!r}: this model has no image tower.")
  if isinstance(side, bool) or not isinstance(side, int) or side < config.img.patch:
    raise ValueError(f"image_size={side!r} is not a whole number of {config.img.patch} pixels, a "
                     "patch, or more.")
  return dataclasses.replace(config, img=dataclasses.replace(config.img, image_size=side))


def init_params(model, rng):
  """Random parameters {"img": ..., "llm": ...}; wrap in jax.eval_shape to have shapes only."""
  c = model.config
  image, grid = example_image(c.img) if c.img else (None, None)
  if c.txt:
    text = jnp.zeros((1, c.txt.length), jnp.int32)
    return model.init(rng, text, image, grid, method="towers")["params"]
  if c.llm is None:
    return model.init(rng, image, grid=grid, method="embed_image")["params"]
  text = jnp.zeros((1, 2), jnp.int32)
  return model.init(rng, text, text, image)["params"]


def example_image(config):
  """A black image as a tower takes it: (array, its grid or None)."""
  if config.naflex:
    return (jnp.zeros((1, 2, config.patch * config.patch * 3)), jnp.ones((1, 2), jnp.int32))
  return jnp.zeros((1, config.image_size, config.image_size, 3), jnp.uint8), None


def param_specs(config):
  """{"llm/final_norm/scale": ParamSpec, ...} of a config, in the order of trees.names."""
  found = config.logit_specs | {prefix + name: row for prefix, c in config.parts.items()
                                for name, row in spec.of(families.of(c).PARAMS, c).items()}
  return {name: found[name] for name in sorted(found, key=lambda name: name.split("/"))}


def param_shapes(config):
  """{"llm/final_norm/scale": ShapeDtypeStruct, ...} of a config's parameters."""
  sizes = {prefix: families.of(c).axis_sizes(c) for prefix, c in config.parts.items()}
  return {name: jax.ShapeDtypeStruct(row.shape(sizes.get(name[:4], {})), jnp.float32)
          for name, row in param_specs(config).items()}


def part(name):
  """The part of the model that a leaf belongs to, for a person: "decoder adapters"."""
  parameter, _, rest = families.locate(name) or (name, None, "")
  part = {"img/head/": "projector", "img/": "tower", "txt/": "text tower", "llm/": "decoder"}
  part |= dict.fromkeys(families.LOGIT, "scale and bias of the logits")
  found = next((what for start, what in part.items() if parameter.startswith(start)), "other")
  return found + (" adapters" if rest.startswith("lora_") else "")


class PaliGemma(nn.Module):
  """Tower and decoder, or SigLIP's two towers; one of them alone is a text-only model or encoder.
  """
  config: PaliGemmaConfig

  def setup(self):
    c = self.config
    for prefix, part in c.parts.items():
      setattr(self, prefix[:-1], families.of(part).Model(part))
    if c.logit_specs:
      fill = lambda value: lambda rng, shape: jnp.full(shape, value, jnp.float32)
      self.t = self.param("t", fill(math.log(c.txt.temperature_init)), (1,))
      self.b = self.param("b", fill(c.txt.bias_init), (1,))

  def embed_text(self, text, train=False):
    """int32 text [B, T], padded to the text tower's length -> [B, D]; not normalized."""
    return self.txt(text, train)

  def towers(self, text=None, image=None, grid=None, train=False):
    """Embeddings (of text, of image), float32 [B, D] of length 1; None for what is not given."""
    zi = zt = None
    if image is not None:
      zi = normalized(self.embed_image(image, train, grid))
    if text is not None:
      zt = normalized(self.embed_text(text, train))
    return zt, zi

  def similarity(self, zi, zt):
    """Logits float32 [I, T] of embeddings of images [I, D] and of texts [T, D]."""
    dots = jnp.einsum("ID,TD->IT", zi, zt, precision="highest")
    return dots * jnp.exp(self.t)[None] + self.b[None]

  def embed_image(self, image, train=False, grid=None):
    """[B, H, W, 3], or [B, F, H, W, 3] for several images -> [B, (F *) P, D]; not scaled.

    A pooled tower gives [B, D] of one image, [B, F, D] of several. A NaFlex tower takes patches and
    their grid.
    """
    if self.config.img.naflex:
      return self.img(image, train, grid)
    if image.ndim == 4:
      return self.img(image, train)
    x = self.img(image.reshape(-1, *image.shape[2:]), train)
    return x.reshape(image.shape[0], -1, x.shape[-1])

  def embed(self, text, mask_ar, image=None, valid=None, train=False, image_index=None):
    """Embeddings [B, (F *) P + T, D] of image and text, and their attention.AttentionMetadata.

    With image_index [B, F] the images [U, H, W, 3] are embedded once each, and an example has
    those of its row; -1 is none, so examples may have different numbers of images. What
    embed_image() gives, [U, P, D], may stand in the place of images.
    """
    x = self.llm.embed(text)
    valid = jnp.ones(text.shape, bool) if valid is None else valid.astype(bool)
    if image is not None:
      image = self.embed_image(image, train) if image.ndim > 3 else image
      image, seen = image.astype(x.dtype), True
      if image_index is not None:
        image = image.reshape(len(image), -1, x.shape[-1])  # a pooled tower has one vector
        seen = jnp.repeat(image_index >= 0, image.shape[1], axis=1)
        image = image[image_index]
      image = image.reshape(len(x), -1, x.shape[-1])
      x = jnp.concatenate([image, x], axis=1)
      mask_ar = jnp.pad(mask_ar, ((0, 0), (image.shape[1], 0)))
      valid = jnp.concatenate([jnp.broadcast_to(seen, image.shape[:2]), valid], axis=1)
    return x, attention.prefix_lm(mask_ar, valid)

  def embed_packed(self, text, mask_ar, segment, image=None, image_segment=None, train=False):
    """As embed(), of rows that hold several examples: each with its images first.

    segment [B, T] and image_segment [B, F]: see big_vlm/batch.py. Returns (embeddings [B, S, D],
    AttentionMetadata, int32 [B, T]: where in S each text token stands).
    """
    x = self.llm.embed(text)
    if image is not None:
      image = self.embed_image(image, train).astype(x.dtype).reshape(len(x), -1, x.shape[-1])
      per_image = image.shape[1] // image_segment.shape[1]
      x = jnp.concatenate([image, x], axis=1)
      mask_ar = jnp.pad(mask_ar, ((0, 0), (image.shape[1], 0)))
      segment = jnp.concatenate([jnp.repeat(image_segment, per_image, axis=1), segment], axis=1)
    # Stable: an example's images stay before its text. Padding goes to the end.
    order = jnp.argsort(jnp.where(segment > 0, segment, attention.PADDING), axis=1, stable=True)
    in_order = lambda x: jnp.take_along_axis(x, order, axis=1)
    x = jnp.take_along_axis(x, order[..., None], axis=1)
    at = jnp.argsort(order, axis=1)[:, -text.shape[1]:]
    return x, attention.packed(in_order(mask_ar), in_order(segment)), at

  def __call__(self, text, mask_ar, image=None, valid=None, train=False, image_index=None,
               segment=None, image_segment=None):
    """int32 text and mask_ar [B, T] (+ image) -> hidden states at the text positions [B, T, D].

    With segment (and image_segment) a row holds several examples: see embed_packed.
    """
    if segment is not None:
      x, tokens, at = self.embed_packed(text, mask_ar, segment, image, image_segment, train)
      hidden, _ = self.llm(x, tokens, train=train)
      return jnp.take_along_axis(hidden, at[..., None], axis=1)
    x, tokens = self.embed(text, mask_ar, image, valid, train, image_index)
    hidden, _ = self.llm(x, tokens, train=train)
    return hidden[:, -text.shape[1]:]

  def logits(self, hidden):
    """[..., D] -> float32 [..., V]."""
    return self.llm.logits(hidden)

  def prefill(self, text, mask_ar, image=None, valid=None, *, max_new_tokens, cache_dtype,
              image_index=None):
    """Reads the prompts. Returns (logits of the token after each prompt [B, V], hidden states of
    all S tokens, images first, [B, S, D], KVCache)."""
    x, tokens = self.embed(text, mask_ar, image, valid, image_index=image_index)
    cache = self.llm.empty_cache(x.shape[0], x.shape[1] + max_new_tokens, cache_dtype)
    hidden, cache = self.llm(x, tokens, cache)
    last = jnp.argmax(jnp.where(tokens.valid, tokens.position, -1), axis=1)
    last = jnp.take_along_axis(hidden, last[:, None, None], axis=1)[:, 0]
    return self.llm.logits(last), hidden, cache

  def extend(self, text, cache):
    """The next token of each row, int32 [B], or several, [B, T] -> (logits of the one after each
    [B, (T,) V], hidden states [B, (T,) D], KVCache)."""
    rows = text.reshape(len(text), -1)
    after = lambda last: last[:, None] + 1 + jnp.arange(rows.shape[1])[None]
    position = jnp.max(jnp.where(cache.tokens.valid, cache.tokens.position, -1), axis=1)
    block = jnp.max(cache.tokens.block, axis=1)
    tokens = attention.AttentionMetadata(after(position), after(block), jnp.ones(rows.shape, bool))
    hidden, cache = self.llm(self.llm.embed(rows), tokens, cache)
    hidden = hidden.reshape(*text.shape, -1)
    return self.llm.logits(hidden), hidden, cache


def normalized(x):
  """[..., D] -> float32 of length 1."""
  x = x.astype(jnp.float32)
  return x / (jnp.linalg.norm(x, axis=-1, keepdims=True) + 1e-8)


def tower_outputs(model, params, text=None, image=None, grid=None):
  """The intermediate activations of towers, float32: of what is given "image_hidden" and
  "text_hidden" [L+1, B, T, D], the first block's input, then what each gives; "image" and "text",
  not normalized; "logits" [B, B] of both."""
  (zt, zi), state = model.apply({"params": params}, text, image, grid, method="towers",
                                mutable=["intermediates"])
  sown = jax.tree.map(lambda x: x[0], state["intermediates"], is_leaf=lambda x: type(x) is tuple)
  out = {}
  for name, part, encoder in (("image", "img", "Transformer"), ("text", "txt", "Encoder_0")):
    if tower := sown.get(part):
      blocks = tower[encoder]["encoderblock"]["hidden"]
      out[f"{name}_hidden"] = jnp.concatenate([tower["embedded"][None], blocks])
      out[name] = tower["features"]
  if zt is not None and zi is not None:
    out["logits"] = model.apply({"params": params}, zi, zt, method="similarity")
  return jax.tree.map(lambda x: x.astype(jnp.float32), out)


def outputs(model, params, text=None, mask_ar=None, image=None, valid=None):
  """The intermediate activations of model.apply(params, text, mask_ar, image, valid).

  L decoder layers and M of the tower; S = (F *) P + T tokens, W the tower's width; all in the
  compute dtype but the probabilities, which are float32:

    "hidden"           [L+1, B, S, D]       the decoder's input, then the output of each block,
                                            the last one before the final norm
    "attention"        [L, B, N, S, S]      probabilities; the rows of padding mean nothing
    "image_hidden"     [M+1, B, (F *) P, W] the same of the tower, before its last norm
    "image_attention"  [M, B (* F), N, P, P]  each image sees itself only
    "image_encoded"    [B, (F *) P, W]      after the tower's last norm
    "image"            as embed_image       after pooling and head

  Without an image it has the first two keys, without a text (which a tower alone does not take)
  the others. Jit a function that picks from the result: XLA does not compute the rest.
  """
  args = (text, mask_ar, image, valid) if text is not None else (image,)
  method = "__call__" if text is not None else "embed_image"
  _, state = model.apply({"params": params}, *args, method=method, mutable=["intermediates"])
  sown = jax.tree.map(lambda x: x[0], state["intermediates"], is_leaf=lambda x: type(x) is tuple)
  hidden = lambda part, blocks: jnp.concatenate([part["embedded"][None], blocks["hidden"]])
  out = {}
  if text is not None:
    out["hidden"] = hidden(sown["llm"], sown["llm"]["layers"])
    out["attention"] = sown["llm"]["layers"]["attn"]["attention"]
  if image is not None:
    img, blocks = sown["img"], sown["img"]["Transformer"]["encoderblock"]
    by_example = lambda x: x.reshape(*x.shape[:-3], len(image), -1, x.shape[-1])
    out["image_hidden"] = by_example(hidden(img, blocks))
    out["image_attention"] = blocks["MultiHeadDotProductAttention_0"]["attention"]
    out["image_encoded"] = by_example(img["encoded"])
    out["image"] = by_example(img["features"]) if model.config.img.pool == "none" else (
        img["features"].reshape(*image.shape[:-3], -1))
  return out
