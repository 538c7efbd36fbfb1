"""VLM: a model with its parameters and tokenizer, ready to answer.

B batch, L prompt length in tokens.
"""
import dataclasses

import jax
import numpy as np

from big_vlm import presets, sharding
from big_vlm.checkpoints import native
from big_vlm.decode.generate import FINISH_REASONS, generate
from big_vlm.models import paligemma
from big_vlm.training import step as steps
from pp import ops_image
from pp.tokenizer import get_tokenizer

PROMPT_BUCKETS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)  # one compilation each


@dataclasses.dataclass(frozen=True)
class Generation:
  text: str
  tokens: list  # ids, the eos included
  logprobs: list  # of each token under the model
  finish_reason: str  # "eos" or "length"


def from_preset(source, *, dtype="float32", load_weights=True, mesh=None):
  """The VLM in a work folder of trainers.train (its newest checkpoint, or W/checkpoints/STEP).

  dtype: of activations; parameters are float32. load_weights=False: fresh parameters from seed 0.
  mesh: a jax Mesh to shard the parameters over; default: all devices.
  """
  preset = presets.find(source, dtype)
  model = paligemma.PaliGemma(preset.config)
  mesh = mesh or sharding.make_mesh()
  fresh = lambda: steps.init_params(model, jax.random.key(0), preset.config.img.image_size)
  shapes = jax.eval_shape(fresh)
  shardings = sharding.tree_sharding(mesh, shapes)
  if load_weights:
    params, _ = native.load_params(preset.source, shapes, shardings)
  else:
    params = jax.jit(fresh, out_shardings=shardings)()
  return VLM(model, params, get_tokenizer(preset.tokenizer), mesh)


@dataclasses.dataclass(frozen=True)
class VLM:
  model: paligemma.PaliGemma
  params: dict
  tokenizer: object
  mesh: jax.sharding.Mesh

  @property
  def config(self):
    return self.model.config

  @property
  def image_size(self):
    return self.config.img.image_size

  def generate(self, prompts, images, *, max_new_tokens=64, sampler="greedy", seed=0):
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
    """{"text", "mask_ar", "mask_input"}, int32 [B, L]: bos, prompt, newline; L is a bucket."""
    newline = self.tokenizer.to_int("\n")
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
    return {"text": text, "mask_ar": 1 - mask_input, "mask_input": mask_input}

  def preprocess(self, image):
    """Bytes, PIL or uint8 array -> uint8 [image_size, image_size, 3]: squashed, bilinear."""
    size = (self.image_size, self.image_size)
    return ops_image.resize_image(ops_image.decode_image(image), size, "bilinear", antialias=True)

  def _generation(self, out, i):
    length, ended = out["length"][i], out["ended"][i]
    tokens = out["tokens"][i][:length + ended]
    return Generation(self.tokenizer.to_str(tokens), tokens.tolist(),
                      out["logprobs"][i][:length + ended].tolist(), FINISH_REASONS[int(ended)])
