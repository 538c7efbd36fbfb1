"""VLM: a model with its parameters and tokenizer, ready to answer.

B batch, L prompt length in tokens, F images or frames of an example, V vocabulary.
"""
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from big_vlm import presets, sharding, trees
from big_vlm.checkpoints import handles, load, save
from big_vlm.checkpoints.source import Source, from_array
from big_vlm.decode.generate import FINISH_REASONS, generate
from big_vlm.models import paligemma
from pp import ops_image
from pp.tokenizer import get_tokenizer

PROMPT_BUCKETS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)  # one compilation each


@dataclasses.dataclass(frozen=True)
class Generation:
  text: str
  tokens: list  # ids, the eos included
  logprobs: list  # of each token under the model
  finish_reason: str  # "eos" or "length"


def from_preset(source, *, dtype="float32", load_weights=True, mesh=None,
                rules=sharding.RULES):
  """The VLM of a preset's name, a handle (hf://, kaggle://, gs://) or a local checkpoint.

  source: see `python -m big_vlm.presets` for names; a local one is a big_vision .npz, a Hugging
    Face folder, a KerasHub preset folder, or a work folder of trainers.train (its newest step).
  dtype: of activations and of parameters, but for vectors and the patch and position embeddings,
    which stay float32.
  load_weights=False: fresh parameters from seed 0; a preset's name then needs no network, and has
    no tokenizer.
  mesh: a jax Mesh to shard the parameters over; default: all devices. rules: how, see sharding.py.
  Raises ValueError for an unknown name or a checkpoint that does not fit, and FileNotFoundError.
  """
  preset = presets.resolve(str(source))
  if preset and not load_weights:
    config, leaves, tokenizer, place = paligemma.config(**preset.config), None, None, preset.name
  else:
    opened = load.open_source(handles.fetch(preset.handle if preset else source))
    config, tokenizer, place = opened.config, opened.tokenizer, opened.path
    if preset:  # a name promises a model; another one behind it is an error
      config = paligemma.config(**preset.config)
    leaves = load.fit(opened, config) if load_weights else None
  config = paligemma.with_dtype(config, dtype)
  model = paligemma.PaliGemma(config)
  mesh = mesh or sharding.make_mesh()
  fresh = lambda: jax.tree.map(
      lambda x, like: x.astype(like), paligemma.init_params(model, jax.random.key(0)), dtypes)
  shapes = jax.eval_shape(lambda: paligemma.init_params(model, jax.random.key(0)))
  dtypes = trees.map_with_names(lambda name, _: load.dtype_of(name, dtype), shapes)
  shardings = sharding.tree_sharding(mesh, shapes, rules)
  if leaves is None:
    params = jax.jit(fresh, out_shardings=shardings)()
  else:
    params = load.params(leaves, shardings, dtype)
  return VLM(model, params, tokenizer and get_tokenizer(tokenizer), mesh, tokenizer, place)


# On a CPU, XLA multiplies bfloat16 as float32 and would convert the weights of all layers ahead of
# the loop over them: 9 GiB more for PaliGemma 3B.
LEAN = {"xla_disable_hlo_passes": "while-loop-invariant-code-motion"}


@functools.cache
def _logits(backend):
  @functools.partial(jax.jit, static_argnames="model",
                     compiler_options=LEAN if backend == "cpu" else {})
  def logits(model, params, tokens, mask_ar, images):
    def run(batch):
      hidden = model.apply({"params": params}, *batch)
      return model.apply({"params": params}, hidden, method="logits")
    batch = (tokens, mask_ar, images)
    if backend == "cpu":
      # Row by row: the order of a CPU's sums depends on the batch size, which in bfloat16 moves
      # PaliGemma 3B's logits by 0.1. A row has tokens enough to keep the cores busy.
      one = lambda row: run(jax.tree.map(lambda x: x[None], row))[0]
      return jax.lax.map(one, batch)
    return run(batch)
  return logits


@dataclasses.dataclass(frozen=True)
class VLM:
  model: paligemma.PaliGemma
  params: dict
  tokenizer: object  # None where the source has none
  mesh: jax.sharding.Mesh
  tokenizer_name: str | None  # for pp.tokenizer.get_tokenizer
  source: str  # where the parameters come from

  @property
  def config(self):
    return self.model.config

  @property
  def image_size(self):
    """Side in pixels; None for a text-only model."""
    return self.config.img and self.config.img.image_size

  def logits(self, tokens, images=None, mask_ar=None):
    """float32 [B, L, V]: next-token logits at each text position.

    tokens: int32 [B, L], taken as they are. images: [B, H, W, 3] or [B, F, H, W, 3], uint8 0..255
    or float [-1, 1]. mask_ar [B, L]: 0 where a token sees its whole block, 1 where it begins a
    new one; default: 0 for a model with images (a prompt sees all of itself), 1 for a text-only
    model (causal).
    """
    tokens = jnp.asarray(tokens, jnp.int32)
    if mask_ar is None:
      mask_ar = jnp.full(tokens.shape, 0 if self.config.img else 1, jnp.int32)
    run = _logits(self.mesh.devices.flat[0].platform)
    return run(self.model, self.params, tokens, jnp.asarray(mask_ar, jnp.int32),
               None if images is None else jnp.asarray(images))

  def export(self, path, format="hf", note=lambda done, total: None):
    """Writes the model for another stack: format "hf", "npz", "keras" or "native"."""
    leaves = {name: from_array(x) for name, x in
              zip(trees.names(self.params), jax.tree.leaves(self.params))}
    source = Source(self.source, self.config, leaves, self.tokenizer_name)
    return save.save(source, path, format, note)

  def generate(self, prompts, images=None, *, max_new_tokens=64, sampler="greedy", seed=0):
    """[Generation] of prompts (a string or several) about images (one for all, or one each).

    An image is encoded bytes, a PIL image, or a uint8 array [H, W, 3] of any size. Request i draws
    from its own random key, a function of (seed, i): the batch never changes a result.
    """
    prompts = [prompts] if isinstance(prompts, str) else list(prompts)
    images = list(images) if isinstance(images, (list, tuple)) else [images] * len(prompts)
    if not prompts or len(images) != len(prompts):
      raise ValueError(f"generate() got {len(prompts)} prompts and {len(images)} images: give at "
                       "least one prompt, and one image for all or one for each.")
    batch = self.tokenize(prompts)
    if images[0] is not None:
      batch["image"] = np.stack([self.preprocess(image) for image in images])
    rows = -len(prompts) % (self.mesh.size // self.mesh.shape["tensor"])  # fills up the mesh
    batch = {k: np.concatenate([x, np.repeat(x[-1:], rows, axis=0)]) for k, x in batch.items()}
    batch["_mask"] = np.arange(len(batch["text"])) < len(prompts)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(
        jax.random.key(seed), np.arange(len(batch["text"])))
    out = jax.device_get(generate(
        self.model, self.params, sharding.put_batch(self.mesh, batch), keys,
        max_new_tokens=max_new_tokens, eos=self.tokenizer.eos_token, pad=self.tokenizer.pad_token,
        sampler=sampler))
    return [self._generation(out, i) for i in range(len(prompts))]

  def tokenize(self, prompts):
    """{"text", "mask_ar", "mask_input"}, int32 [B, L]: bos, prompt, newline; L is a bucket.

    A text-only model has no newline and reads its prompt causally.
    """
    newline = self.tokenizer.to_int("\n") if self.config.img else []
    ids = [self.tokenizer.to_int(p, bos=True) + newline for p in prompts]
    longest = max(map(len, ids))
    bucket = next((b for b in PROMPT_BUCKETS if b >= longest), None)
    if bucket is None:
      raise ValueError(f"A prompt of {longest} tokens is longer than {PROMPT_BUCKETS[-1]}, the "
                       "longest that the model takes: shorten it.")
    text = np.full((len(ids), bucket), self.tokenizer.pad_token, np.int32)
    mask_input = np.zeros_like(text)
    for i, row in enumerate(ids):
      text[i, :len(row)], mask_input[i, :len(row)] = row, 1
    mask_ar = 1 - mask_input if self.config.img else np.ones_like(text)
    return {"text": text, "mask_ar": mask_ar, "mask_input": mask_input}

  def preprocess(self, image):
    """Bytes, PIL or uint8 array -> uint8 [image_size, image_size, 3]: squashed, bilinear."""
    size = (self.image_size, self.image_size)
    return ops_image.resize_image(ops_image.decode_image(image), size, "bilinear", antialias=True)

  def _generation(self, out, i):
    length, ended = out["length"][i], out["ended"][i]
    tokens = out["tokens"][i][:length + ended]
    return Generation(self.tokenizer.to_str(tokens), tokens.tolist(),
                      out["logprobs"][i][:length + ended].tolist(), FINISH_REASONS[int(ended)])
