"""VLM: a model with its parameters and tokenizer: generate, score, adapt, quantize, train, export.

B batch, L prompt length in tokens, F images or frames of an example, V vocabulary.
"""
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from big_vlm import inputs, presets, scoring, sharding, trees
from big_vlm.adapt import lora, quantize
from big_vlm.checkpoints import load, save, uris
from big_vlm.checkpoints.checkpoint import Checkpoint, from_array
from big_vlm.decode import detections, generate
from big_vlm.decode.answers import Generation as Generation
from big_vlm.decode.session import PROMPTS, GenerationConfig, GenerationSession
from big_vlm.families import paligemma
from pp.tokenizer import get_tokenizer


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
    opened = load.open_source(uris.fetch(preset.uri if preset else source))
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


@functools.cache
def _logits():
  @functools.partial(jax.jit, static_argnames="model", compiler_options=generate.lean_options())
  def logits(model, params, tokens, mask_ar, images):
    def run(batch):
      hidden = model.apply({"params": params}, *batch)
      return model.apply({"params": params}, hidden, method="logits")
    batch = (tokens, mask_ar, images)
    if jax.default_backend() == "cpu":
      # Row by row: the order of a CPU's sums depends on the batch size, which in bfloat16 moves
      # PaliGemma 3B's logits by 0.1. A row has tokens enough to keep the cores busy.
      one = lambda row: run(jax.tree.map(lambda x: x[None], row))[0]
      return jax.lax.map(one, batch)
    return run(batch)
  return logits


@dataclasses.dataclass
class VLM:
  """fit() trains it in place; with_lora(), merge_lora() and quantize() give another one."""
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

  def generate(self, prompts, images=None, *, max_new_tokens=GenerationConfig.max_new_tokens,
               max_length=GenerationConfig.max_length, sampler=GenerationConfig.sampler, stop=GenerationConfig.stop,
               seed=GenerationConfig.seed, num_samples=GenerationConfig.num_samples,
               strip_prompt=GenerationConfig.strip_prompt, grammar=GenerationConfig.grammar,
               no_repeat_ngram=GenerationConfig.no_repeat_ngram, cache_dtype=GenerationConfig.cache_dtype):
    """[Generation] of prompts about images; num_samples of the first prompt, then of the next.

    prompts: a string or several; lists of token ids are taken as they are, bos included.
    images: one for all prompts, or a list with one for each: an image, a list of several, or None.
      An image is a path, encoded bytes, a PIL image or an array [H, W, 3], uint8 0..255 or float
      [-1, 1], of any size; the same object is encoded once.
    max_new_tokens: the limit of an answer; or max_length, of prompt and answer together, in text
      tokens. The model's own limit ends an answer too.
    sampler: see decode/samplers.py, e.g. "top_p(.9)|temperature(.7)", "beam(n=4)". A request draws
      from a key that is a function of the seed and of the request: neither the batch nor its order
      changes a result. seed: an int, or one for each prompt.
    stop: "eos", other strings, token ids, or several of them, and nothing else: beside another one
      name "eos" as well. () goes on to the limit.
    strip_prompt=False: the text begins with the prompt; tokens and logprobs are the answer's.
    grammar: "detect" or "segment" keeps answers well-formed, "auto" those to prompts that begin so.
    no_repeat_ngram: no n tokens in a row come twice in an answer; 0 is off, 5 stops repeated boxes.
    cache_dtype: of keys and values: "float32", "bfloat16" or "int8"; default: the model's dtype.

    Raises ValueError for what does not fit the model, and OSError for an image that is not there.
    """
    options = GenerationConfig(max_new_tokens, max_length, sampler, stop, seed, num_samples, strip_prompt,
                      grammar, no_repeat_ngram, cache_dtype)
    decoding = GenerationSession(self, prompts, images, options)
    found = decoding.answers()
    if strip_prompt:
      return found
    return [dataclasses.replace(g, text=decoding.text_of_prompt(i) + g.text)
            for i, g in enumerate(found)]

  def stream(self, prompts, images=None, **options):
    """Yields the text that generate() gives, with the same arguments, piece by piece as it is
    decoded; pairs (answer, piece) where there are several answers. The value of the generator, as
    `yield from` gives it, is the [Generation]; their text is without the prompt."""
    options = GenerationConfig(**options)
    decoding = GenerationSession(self, prompts, images, options)
    single = decoding.count == 1
    if not options.strip_prompt:
      for i in range(decoding.count):
        yield decoding.text_of_prompt(i) if single else (i, decoding.text_of_prompt(i))
    pieces = decoding.pieces()
    while True:
      try:
        i, piece = next(pieces)
      except StopIteration as end:
        return end.value
      yield piece if single else (i, piece)

  def logits(self, tokens, images=None, mask_ar=None):
    """float32 [B, L, V]: next-token logits at each text position.

    tokens: int32 [B, L], taken as they are. images: [B, H, W, 3] or [B, F, H, W, 3], uint8 0..255
    or float [-1, 1]. mask_ar [B, L]: 0 where a token sees its whole block, 1 where it begins a
    new one; default: 0 for a model with images (a prompt sees all of itself), 1 for a text-only
    model (causal).
    """
    tokens = self._token_array(tokens)
    if mask_ar is None:
      mask_ar = jnp.full(tokens.shape, 0 if self.config.img else 1, jnp.int32)
    return _logits()(self.model, self.params, tokens, jnp.asarray(mask_ar, jnp.int32),
                     self._image_array(images))

  def score(self, prompts, suffixes, images=None):
    """(totals [B], [[float]] per token): log-probability of each suffix after its prompt.

    A suffix that is a string gets the eos appended; a list of ids is taken as it is. One prompt
    goes with all suffixes: what ranks answers. images: as in generate().
    """
    prompts, suffixes = inputs.as_list(prompts), inputs.as_list(suffixes)
    prompts = prompts * len(suffixes) if len(prompts) == 1 else prompts
    if len(prompts) != len(suffixes):
      raise ValueError(f"There are {len(prompts)} prompts and {len(suffixes)} suffixes: give one "
                       "suffix for each prompt, or one prompt for all.")
    images = inputs.by_prompt(images, len(prompts))
    suffixes = [self._suffix(s) for s in suffixes]
    rows = []
    for at in range(0, len(prompts), PROMPTS):
      part = slice(at, at + PROMPTS)
      rows += scoring.suffix_logprobs(self.model, self.params, prompts[part], suffixes[part],
                                      images[part], self.tokenizer, self.mesh)
    return np.array([sum(row) for row in rows]), rows

  def score_tokens(self, tokens, images=None, *, mode="logits", targets=None, mask_ar=None,
                   layer_intercept_fn=None):
    """mode "logits": float32 [B, L, V]; "loss": -log p(target) float32 [B, L] of targets [B, L].

    As KerasHub's GemmaCausalLM.score. layer_intercept_fn(x, i) gets the activations [B, (F *) P +
    L, D], those of images first, and gives what goes on: i is -1 for the embeddings, then 0 to
    depth - 1 after each block. All of it can be differentiated: gradients of the loss with respect
    to the embeddings are

      jax.grad(lambda d: vlm.score_tokens(tokens, mode="loss", targets=targets, layer_intercept_fn=
                                          lambda x, i: x + d if i == -1 else x).sum())(zeros)

    The text is causal unless mask_ar [B, L] says otherwise, see logits().
    """
    tokens = self._token_array(tokens)
    mask_ar = jnp.ones_like(tokens) if mask_ar is None else jnp.asarray(mask_ar, jnp.int32)
    args = (self.model, self.params, tokens, self._image_array(images), mask_ar)
    if mode == "logits":
      return scoring.token_logits(*args, layer_intercept_fn)
    if mode != "loss":
      raise ValueError(f"score_tokens(mode={mode!r}): the mode is 'logits' or 'loss'.")
    if targets is None or np.shape(targets) != tokens.shape:
      raise ValueError(f"score_tokens(mode='loss') needs targets {list(tokens.shape)}, the token "
                       f"that should follow each of tokens; got "
                       f"{None if targets is None else list(np.shape(targets))}.")
    return scoring.token_losses(*args, jnp.asarray(targets, jnp.int32), layer_intercept_fn)

  def objects(self, generation, image, vqvae=None):
    """[detections.Detection] of an answer with locations: boxes in pixels, labels, masks, confidences.

    image: what the answer is about, or its (height, width). vqvae: parameters of
    models.vqvae.load(), needed for masks.
    """
    size = image if isinstance(image, tuple) else inputs.size(image)
    return detections.objects(generation, self.tokenizer, size, vqvae)

  def tokenize(self, prompts):
    """{"text", "mask_ar", "mask_input"}, int32 [B, L], as generate() gives them to the model: bos,
    prompt, newline (none for a text-only model); L is a bucket, and B rows may follow as filling.
    """
    prompts = inputs.as_list(prompts)
    return inputs.pack_requests(prompts, None, self.tokenizer, inputs.model_limits(self.config)).batch

  def preprocess(self, image):
    """An image as generate() takes it -> [image_size, image_size, 3], squashed, bilinear."""
    return inputs.pixels(image, self.image_size)

  def with_lora(self, rank=8, targets=".*attn.*|.*mlp.*", alpha=None, seed=0):
    """The VLM with fresh adapters (arXiv 2106.09685) on all weights whose names match `targets`.

    It answers as before; fit() trains the adapters only. alpha: the adapters' scale times rank,
    default: rank. Raises ValueError for a pattern that matches no weight.
    """
    return self._replace(lora.add(self.model, self.params, rank, targets, alpha, seed))

  def merge_lora(self):
    """The VLM with the adapters added into the weights, which have their usual form again."""
    return self._replace(lora.merge(self.params))

  def quantize(self, kind):
    """The VLM with "int8" or "int4" weights, see adapt/quantize.py."""
    return self._replace(quantize.quantize(self.model, self.params, kind))

  def fit(self, examples, **args):
    """Trains in place and returns the history {"step": [...], "loss": [...], ...}; for all
    arguments see training/fit.py."""
    from big_vlm.training import fit  # here: the loader takes a second to import
    return fit.fit(self, examples, **args)

  def export(self, path, format="hf", note=lambda done, total: None):
    """Writes the model for another stack: format "hf", "npz", "keras" or "native"."""
    if names := [n for n in trees.names(self.params) if n.rsplit("/", 1)[-1] in ("lora_a", "q")]:
      raise ValueError(
          f"{names[0]} is adapted or quantized, which no checkpoint format here holds. Call "
          "merge_lora() first, export the model that quantize() was called on, or write the "
          "adapters alone: big_vlm.adapt.lora.save, adapt.peft.export.")
    leaves = {name: from_array(x) for name, x in
              zip(trees.names(self.params), jax.tree.leaves(self.params))}
    source = Checkpoint(self.source, self.config, leaves, self.tokenizer_name)
    return save.save(source, path, format, note)

  def _replace(self, params):
    return dataclasses.replace(self, params=params)

  def _token_array(self, tokens):
    tokens = jnp.asarray(tokens, jnp.int32)
    if tokens.ndim != 2:
      raise ValueError(f"tokens are [B, L], not {list(tokens.shape)}; lists of unequal length need "
                       "generate() or score().")
    return tokens

  def _image_array(self, images):
    if images is None:
      return None
    if self.image_size is None:
      raise ValueError("This model has no image tower: leave the images out.")
    if np.ndim(images) not in (4, 5):
      raise ValueError(f"images are [B, H, W, 3] or [B, F, H, W, 3], not {list(np.shape(images))}.")
    return jnp.asarray(images)

  def _suffix(self, suffix):
    ids = inputs.ids(suffix, self.tokenizer, "")
    if isinstance(suffix, str):  # ids() begins a text with bos
      ids = ids[1:] + [self.tokenizer.eos_token]
    if not ids:
      raise ValueError("A suffix has no tokens: there is nothing to score.")
    return ids
