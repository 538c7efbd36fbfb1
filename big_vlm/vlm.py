"""VLM: a model with its parameters and tokenizer: generate, score, adapt, quantize, train, export.

B batch, T text length in tokens, F images or frames of an example, V vocabulary.
"""
import dataclasses
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from big_vlm import (
  activations,
  building,
  chat,
  embedding,
  exporting,
  image_input,
  inputs,
  keywords,
  presets,
  prompt_input,
  scoring,
  sharding,
)
from big_vlm.adapt import keras_lora, lora, peft, quantize
from big_vlm.checkpoints import load, uris
from big_vlm.checkpoints.checkpoint import Checkpoint
from big_vlm.decode import choices, detections
from big_vlm.decode.answers import Generation as Generation
from big_vlm.decode.samplers import Search
from big_vlm.decode.session import GenerationConfig, GenerationSession
from big_vlm.families import paligemma
from pp.foreign import reading
from pp.names import pick
from pp.tokenizer import Tokenizer, get_tokenizer


def from_preset(source: str | os.PathLike, *, dtype: str | DTypeLike = "float32",
                load_weights: bool = True, image_size: int | None = None,
                mesh: jax.sharding.Mesh | None = None, rules: Sequence = sharding.RULES) -> "VLM":
  """The VLM of a preset's name, a URI (hf://, kaggle://, gs://) or a local checkpoint.

  source: see `python -m big_vlm.presets` for names; a local one is a big_vision .npz, a Hugging
    Face folder, a KerasHub preset folder, or a work folder W of trainers.train (its newest step;
    "W@best" is the one that config.best keeps).
  dtype: of activations and parameters; vectors and the patch and position embeddings stay float32.
    "auto": bfloat16 on TPU and GPU, float32 on a CPU. Quantized weights stay as they are stored.
  load_weights=False: parameters are randomly initialized from seed 0; a preset's name then needs no
    network, and has no tokenizer.
  image_size: side in pixels, where it is not to be the checkpoint's: positions are resampled.
  mesh: a jax Mesh to shard the parameters over; default: all devices. rules: see sharding.py.
  Raises ValueError for an unknown name or a checkpoint that does not fit, and FileNotFoundError.
  """
  preset, mesh = presets.resolve(str(source)), mesh or sharding.make_mesh()
  dtype = building.compute_dtype(dtype, mesh)
  if preset and not load_weights:
    opened = Checkpoint(preset.name, paligemma.config(**preset.config), {}, None)
  else:
    opened = load.open_source(uris.fetch(preset.uri if preset else source))
  # With another model behind a preset's name, load.fit() is an error.
  config = paligemma.config(**preset.config) if preset else opened.config
  config = paligemma.with_image_size(config, image_size)
  about = dict(source=opened.path, text_len=preset.text_len if preset else opened.text_len,
               prompts=preset.prompts if preset else ())
  if not load_weights:
    fresh = VLM.from_config(config, opened.tokenizer, dtype=dtype, mesh=mesh, rules=rules)
    return dataclasses.replace(fresh, **about)
  model, params = building.load(opened, config, dtype, mesh, rules)
  tokenizer = opened.tokenizer and get_tokenizer(opened.tokenizer)
  return VLM(model, params, tokenizer, mesh, opened.tokenizer, **about)


@keywords.checked
@dataclasses.dataclass(repr=False)
class VLM:
  """fit() trains it in place; with_lora(), merge_lora() and quantize() return another one."""
  model: paligemma.PaliGemma
  params: dict
  tokenizer: Tokenizer | None  # None where the source has none
  mesh: jax.sharding.Mesh
  tokenizer_name: str | None  # for pp.tokenizer.get_tokenizer
  source: str  # of the parameters
  text_len: int | None = None  # tokens of prompt and answer that it was trained with, where known
  prompts: tuple[str, ...] = ()  # a released model's, such as "caption {lang}": others surprise it
  _adapted: Any = dataclasses.field(default=None, init=False, compare=False)  # of with_lora()

  @classmethod
  def from_config(cls, config: dict | paligemma.PaliGemmaConfig, tokenizer: str | None = None, *,
                  dtype: str | DTypeLike = "float32", seed: int = 0,
                  mesh: jax.sharding.Mesh | None = None,
                  rules: Sequence = sharding.RULES) -> "VLM":
    """A new model with random parameters, which are a function of the seed.

    config: {"img": {...}, "llm": {...}} or one of them, each a "variant" and what differs from it:
      {"img": {"variant": "B/16", "image_size": 256}, "llm": {"variant": "gemma_2b", "depth": 4}};
      of a SigLIP {"img": {"variant": "B/16"}, "txt": {"variant": "text_B"}}. TOWER_VARIANTS,
      TEXT_VARIANTS and DECODER_VARIANTS of families have the variants with their fields. Or the
      config of another VLM.
    tokenizer: "sp('my.model', tokensets=('loc', 'seg'))", see pp/tokenizer.py. The decoder's
      "vocab_size", unless the config gives it, is the tokenizer's.
    dtype, mesh, rules: as from_preset() takes them.

    Raises ValueError for an unknown variant or field, and a vocabulary below the tokenizer's.
    """
    mesh, tok = mesh or sharding.make_mesh(), tokenizer and get_tokenizer(tokenizer)
    if isinstance(config, dict):
      config = paligemma.own_config(config, tok and tok.vocab_size)
    if not isinstance(config, paligemma.PaliGemmaConfig):
      raise ValueError(f"A config is a dict with 'img' and 'llm', or that of another VLM, not "
                       f"{config!r:.80}; from_preset(..., load_weights=False) takes a name.")
    reader = config.llm or config.txt
    if tok and reader and reader.vocab_size < tok.vocab_size:
      raise ValueError(f"The tokenizer has {tok.vocab_size} pieces and the model a vocab_size of "
                       f"{reader.vocab_size}: it could not read all of them.")
    model, fresh, shapes = building.shapes(config, building.compute_dtype(dtype, mesh))
    params = jax.jit(fresh, out_shardings=sharding.tree_sharding(mesh, shapes, rules))(seed)
    return cls(model, params, tok, mesh, tokenizer, f"random parameters of seed {seed}")

  @property
  def config(self) -> paligemma.PaliGemmaConfig:
    return self.model.config

  @property
  def image_size(self) -> int | None:
    """Side in pixels; None for a text-only model."""
    return self.config.img and self.config.img.image_size

  def generate(self, prompts: str | Sequence, images: Any = None, *,
               max_new_tokens: int = GenerationConfig.max_new_tokens,
               max_length: int | None = GenerationConfig.max_length,
               sampler: str | Search = GenerationConfig.sampler,
               stop: str | int | Sequence[str | int] = GenerationConfig.stop,
               seed: int | Sequence[int] = GenerationConfig.seed,
               num_samples: int = GenerationConfig.num_samples,
               strip_prompt: bool = GenerationConfig.strip_prompt,
               grammar: str | dict | Sequence[str] | None = GenerationConfig.grammar,
               no_repeat_ngram: int = GenerationConfig.no_repeat_ngram,
               cache_dtype: str | None = GenerationConfig.cache_dtype,
               min_new_tokens: int = GenerationConfig.min_new_tokens,
               repetition_penalty: float = GenerationConfig.repetition_penalty,
               logit_bias: dict[str | int, float] | None = GenerationConfig.logit_bias,
               logits_processor: Callable | None = None,
               answer_start: str | Sequence | None = None) -> list[Generation]:
    """[Generation] of prompts about images; num_samples of the first prompt, then of the next.

    prompts: a string or several; lists of token ids are taken as they are, bos included, and have
      no padding. A string gets a newline at its end, the separator of prompt and answer, unless it
      ends in one; a text-only model has none. A Gemma "-it" also takes a conversation, [{"role":
      "user", "content": "hi"}]. Also transformers' "<image>caption en", KerasHub's
      {"images", "prompts"}, and what its preprocessor makes of it, {"images", "token_ids",
      "padding_mask"}.
    images: one for all prompts, or a list with one for each: an image, a list of several, or None.
      An image is a path, encoded bytes, a PIL image or an array [H, W, 3], uint8 0..255 or float
      [-1, 1], of any size; the same object is encoded once. An iterator of one for each is read as
      it is needed, 64 at a time. A model that sees needs images: [None] asks it about text alone.
    max_new_tokens: the limit of an answer; or max_length, of prompt and answer together, in text
      tokens, more than any prompt has. The model's own limit ends an answer too.
    sampler: see decode/samplers.py, e.g. "top_p(.9)|temperature(.7)", "beam(4)", or in Python
      big_vlm.samplers.top_p(.9); transformers' num_beams=4 is "hf_beam(4)". num_samples above 1
      needs one that draws, or hf_beam, whose best beams they are. A request draws from a key that
      is a function of the seed and of the request: neither the batch nor its order changes a
      result. seed: an int, or one for each prompt.
    stop: "eos" (also "auto", or the piece itself), other strings, token ids, or several of them.
      They replace the default: beside another stop, name "eos" as well. () decodes up to the limit.
    strip_prompt=False: the text begins with the prompt and its newline, tokens and logprobs do not.
    grammar: "detect" or "segment" keeps answers well-formed, "auto" those to prompts that begin so;
      {"json_schema": {...}}, {"regex": "[0-9]+"}, "json" or a list of choices: see docs/use.md.
    no_repeat_ngram: no n-gram of tokens comes twice in an answer; 0: off, 5 stops repeated boxes.
    cache_dtype: of keys and values: "float32", "bfloat16" or "int8"; default: the model's dtype.
    min_new_tokens, repetition_penalty: as in transformers; the penalty is of tokens in prompt and
      answer. logit_bias: {text of one token, or its id: what is added}; float("-inf") forbids it.
    logits_processor: a function, traced once, of int32 tokens [R, N], of which the first `length`
      [R] are written, and logits [R, V]; it returns new logits.
    answer_start: what the answer begins with, text or ids, of all prompts or of each; what follows
      it is returned. The prompt does not see it, as it sees no answer.

    Raises ValueError for requests that do not fit the model, and OSError for a missing image.
    """
    config = GenerationConfig(max_new_tokens, max_length, sampler, stop, seed, num_samples,
                              strip_prompt, grammar, no_repeat_ngram, cache_dtype, min_new_tokens,
                              repetition_penalty, logit_bias, logits_processor, answer_start)
    prompts, images, session = self._requests(prompts, images, config)
    found = (choices.generate(self, prompts, images, config, session) if session.choices else
             session.answers(session.batches(prompts, images, self.mesh)))
    if strip_prompt:
      return found
    return [dataclasses.replace(g, text=session.lead(prompts, i) + g.text)
            for i, g in enumerate(found)]

  def stream(self, prompts: str | Sequence, images: Any = None, **options) -> Iterator:
    """Yields the text that generate() gives, with the same arguments, piece by piece as it is
    decoded; pairs (answer, piece) where there are several answers. The value of the generator, as
    `yield from` gives it, is the [Generation]; their text is without the prompt."""
    config = GenerationConfig(**options)
    prompts, images, session = self._requests(prompts, images, config)
    count = len(prompts) * config.num_samples
    show = lambda i, piece: piece if count == 1 else (i, piece)
    pieces = session.pieces(session.batches(prompts, images, self.mesh))
    if not config.strip_prompt:
      for i in range(count):
        yield show(i, session.lead(prompts, i))
    while True:
      try:
        yield show(*next(pieces))
      except StopIteration as end:
        return end.value

  def embed(self, images: Any = None, texts: Any = None, *, resize: str | None = None,
            spelling: str = embedding.EmbedConfig.spelling,
            max_num_patches: int = embedding.EmbedConfig.max_num_patches) -> np.ndarray:
    """float32 [B, D], of unit length: vectors of images, or of texts of a SigLIP.

    images: one, or a list, an iterator or a batch array, each as generate() takes it. Of a
      PaliGemma, or of a tower without a pooling head, a vector is the mean of image_features().
    texts: a string or several. A string is spelled as in training, its eos is added, and it is
      padded, as big_vision does; a longer one is cut before its eos, with a warning. Lists of token
      ids are taken as they are, eos included, and padded.
    resize: a row of image_input.RESIZES: "big_vision" (SigLIP's default), "naflex" (NaFlex'),
      "antialias" (PaliGemma's), "pil_bilinear", "pil_bicubic" or "keras_hub".
    spelling: a row of pp.canonical.SPELLINGS: "ascii" lower-cases A to Z, "unicode" all letters.
    max_num_patches: of an image that a NaFlex tower sees; it was trained with 64 to 1024.

    A vector does not depend on what is beside it. Raises ValueError for what the model does not
    take, and OSError for a missing image.
    """
    options = embedding.EmbedConfig(resize, spelling, max_num_patches)
    if images is not None and texts is not None:
      raise ValueError("embed() takes images or texts: call it for each. vlm.similarity(images, "
                       "texts) compares them.")
    args = (self.model, self.params, self.mesh)
    if texts is not None:
      return embedding.of_texts(*args, self.tokenizer, texts, options)
    return embedding.of_images(*args, images, options)

  def similarity(self, images: Any, texts: Any, *, probabilities: bool = False,
                 **options) -> np.ndarray:
    """float32 [I, T]: SigLIP's logits of each image with each text; with probabilities=True their
    sigmoids, of each pair alone. Arguments and options as of embed()."""
    embedding.check_pair(self.config)
    logits = embedding.similarity(
        self.model, self.params, self.embed(images, **options), self.embed(texts=texts, **options))
    return embedding.probabilities(logits) if probabilities else logits

  def classify(self, images: Any, labels: Sequence[str], templates: str | Sequence | None = None,
               **options) -> list[embedding.Classification]:
    """[Classification(label, index, logits, probabilities)] of each image: zero-shot, by SigLIP.

    templates: such as "a photo of a {}.", of which a label's vectors are averaged; default: the
    label alone. Both lose case and punctuation, as in big_vision. images, options: as of embed().
    """
    embedding.check_pair(self.config)
    labels = embedding.strings(labels, "labels")
    prompts = embedding.prompts(labels, templates)
    vectors = self.embed(texts=[text for row in prompts for text in row], **options)
    return embedding.classify(self.model, self.params, labels, self.embed(images, **options),
                              embedding.label_vectors(vectors, len(prompts)))

  def logits(self, tokens: ArrayLike, images: Any = None,
             mask_ar: ArrayLike | None = None, *, last: int | None = None) -> jax.Array:
    """float32 [B, T, V]: next-token logits at each text position, or at the `last` n of them.

    tokens: int32 [B, T], used unchanged. images: [B, H, W, 3] or [B, F, H, W, 3], uint8 0..255
    or float [-1, 1]. mask_ar [B, T]: 0 where a token sees its whole block, 1 where it begins a
    new one; default: 0 for a model with images (a prompt sees all of itself), 1 for a text-only
    model (causal).
    """
    batch = self._batch(tokens, images, self._mask_ar(tokens, mask_ar))
    if last is None:
      return scoring.token_logits(self.model, self.params, batch)
    if not 1 <= last <= batch["text"].shape[1]:
      raise ValueError(f"logits(last={last}): the tokens have {batch['text'].shape[1]} positions.")
    return activations.last_logits(self.model, self.params, batch, int(last))

  def score(self, prompts: str | Sequence, suffixes: str | Sequence,
            images: Any = None) -> tuple[np.ndarray, list]:
    """(totals [B], [[float]] per token): log-probability of each suffix after its prompt.

    A suffix that is a string gets the eos appended; a list of ids is used unchanged. One prompt
    goes with all suffixes, which ranks answers. images: as in generate().
    """
    prompts, images = prompt_input.from_dict(prompts, images)
    rows = scoring.score(self.model, self.params, prompts, suffixes, images, self.tokenizer,
                         self.mesh)
    return np.array([sum(row) for row in rows]), rows

  def score_tokens(self, tokens: ArrayLike, images: Any = None, *,
                   mode: Literal["logits", "loss"] = "logits", targets: ArrayLike | None = None,
                   mask_ar: ArrayLike | None = None,
                   layer_intercept_fn: Callable | None = None) -> jax.Array:
    """mode "logits": float32 [B, T, V]; "loss": -log p(target) float32 [B, T] of targets [B, T].

    As KerasHub's GemmaCausalLM.score. layer_intercept_fn(x, i) gets the activations [B, (F *) P +
    T, D], those of images first, and returns those that the next layer gets: i is -1 for the
    embeddings, those of text as the table has them (Gemma multiplies by sqrt(D) afterwards), then
    0 to depth - 1 after each block. All of it can be differentiated: gradients of
    the loss with respect to the embeddings are

      jax.grad(lambda d: vlm.score_tokens(tokens, mode="loss", targets=targets, layer_intercept_fn=
                                          lambda x, i: x + d if i == -1 else x).sum())(zeros)

    The text is causal unless mask_ar [B, T] says otherwise, see logits().
    """
    batch = self._batch(tokens, images, np.ones(np.shape(tokens)) if mask_ar is None else mask_ar)
    args, shape = (self.model, self.params, batch), batch["text"].shape
    if mode == "logits":
      return scoring.token_logits(*args, layer_intercept_fn)
    if mode != "loss":
      raise ValueError(f"score_tokens(mode={mode!r}): the mode is 'logits' or 'loss'.")
    if targets is None or np.shape(targets) != shape:
      raise ValueError(f"score_tokens(mode='loss') needs targets {list(shape)}, the token that "
                       f"should follow each of tokens; got "
                       f"{None if targets is None else list(np.shape(targets))}.")
    targets = self._ids(targets, "targets")
    return scoring.token_losses(*args, targets, layer_intercept_fn)

  def detections(self, generation: Generation, image: Any,
                 vqvae: dict | None = None) -> list[detections.Detection]:
    """[Detection] of an answer with locations: boxes in pixels, labels, masks, confidences.

    image: the one that the answer is about, or its (height, width). vqvae: parameters of
    families.vqvae.load(), needed for masks.
    """
    size = image if isinstance(image, tuple) else image_input.size(image)
    return detections.from_generation(generation, self.tokenizer, size, vqvae)

  objects = detections  # the name until 0.2; it goes with the next release

  def tokenize(self, prompts: str | Sequence) -> dict[str, np.ndarray]:
    """{"text", "mask_ar", "mask_input"}, int32 [B, T], as generate() gives them to the model: bos,
    prompt, newline (none for a text-only model); T and B are buckets, with padding at their ends.
    """
    limits = inputs.model_limits(self.config)
    return inputs.pack_requests(prompt_input.as_list(prompts), None, self.tokenizer, limits).batch

  def preprocess(self, image: Any) -> np.ndarray:
    """An image as generate() or embed() takes it -> [image_size, image_size, 3], squashed."""
    return embedding.preprocess(image, self.config.img)

  def __repr__(self):
    c, name = self.config, presets.describe(self.config)
    reader = c.llm or c.txt
    text = f"{reader.vocab_size:,} tokens of vocabulary" if reader else "no decoder"
    text += f", trained with {self.text_len} of text" if self.text_len else ""
    kinds = ", ".join(sorted({str(x.dtype) for x in jax.tree.leaves(self.params)}))
    count = sum(x.size for x in jax.tree.leaves(self.params))
    return (f"VLM({name}\n  {count:,} parameters, {kinds}\n"
            f"  images {self.image_size or 'none'}, {text}\n"
            f"  tokenizer {str(self.tokenizer_name)[:80]}\n  source {self.source[:80]})")

  def outputs(self, tokens: ArrayLike, images: Any = None, mask_ar: ArrayLike | None = None,
              names: Sequence[str] = ("hidden",)) -> dict[str, jax.Array]:
    """{name: array}: "hidden" states and "attention" of all layers, "image_hidden",
    "image_attention", "image_encoded", "image", as families.paligemma.outputs has them.

    Arguments as of logits(). Only what is named is kept in memory.
    """
    return activations.outputs(self.model, self.params, self._batch(
        tokens, images, self._mask_ar(tokens, mask_ar)), tuple(names))

  def image_features(self, images: ArrayLike) -> jax.Array:
    """[B, (F *) P, D]: what the decoder reads of images as logits() takes them; [B, (F,) D] of a
    tower that pools."""
    return activations.image_features(self.model, self.params, image_input.tensor(
        images, self.image_size))

  def prefill(self, tokens: ArrayLike, images: Any = None, mask_ar: ArrayLike | None = None, *,
              max_new_tokens: int = 64) -> tuple[jax.Array, Any]:
    """(logits of the token after each prompt, float32 [B, V]; cache with room for so many more).

    Arguments as of logits(). With extend() a decoding loop of one's own."""
    return activations.prefill(self.model, self.params, self._batch(
        tokens, images, self._mask_ar(tokens, mask_ar)), max_new_tokens)

  def extend(self, tokens: ArrayLike, cache: Any) -> tuple[jax.Array, Any]:
    """(logits float32 [B, V], cache) after one token more of each row, int32 [B]. Raises ValueError
    for a full cache."""
    size, tokens = cache.tokens.valid.shape[1], self._ids(tokens)
    if tokens.ndim != 1:
      raise ValueError(f"extend(): tokens are one of each row, [B], not {list(tokens.shape)}.")
    if not isinstance(cache.length, jax.core.Tracer) and cache.length >= size:
      raise ValueError(f"extend(): all {size} positions of the cache are taken. Give prefill() a "
                       "larger max_new_tokens.")
    return activations.extend(self.model, self.params, tokens, cache)

  def with_lora(self, rank: int = 8, targets: str | None = None, alpha: float | None = None,
                seed: int = 0, dropout: float = 0.) -> "VLM":
    """The VLM with new adapters (arXiv 2106.09685) on all weights whose names match `targets`, a
    regex, by default on the projections of the decoder's layers.

    Its answers do not change; fit() trains the adapters only. alpha: the adapters' scale times
    rank, default: rank. dropout: of the adapters' input, while fit() trains. Raises ValueError for
    a pattern that matches no weight.
    """
    adapted = self._replace(lora.add(self.model, self.params, rank, targets, alpha, seed, dropout))
    self._adapted = weakref.ref(adapted)
    return adapted

  def load_adapter(self, path: str | os.PathLike) -> "VLM":
    """The VLM with the adapters of a folder of PEFT, or of a file: KerasHub's .lora.h5, or that of
    adapt.lora.save().

    Raises ValueError for adapters of another model, and for a model that has some already.
    """
    file, keras = os.path.isfile(path), str(path).endswith(".h5")
    read = keras_lora.load if file and keras else lora.load if file else peft.load
    with reading(path):
      return self._replace(read(self.model, self.params, path))

  def merge_lora(self) -> "VLM":
    """The VLM with the adapters added to the weights."""
    return self._replace(lora.merge(self.params))

  def quantize(self, kind: Literal["int8", "int4"]) -> "VLM":
    """The VLM with "int8" or "int4" weights, see adapt/quantize.py."""
    return self._replace(quantize.quantize(self.model, self.params, kind))

  def fit(self, examples: Any, *, steps: int | None = None, epochs: float = 1, batch_size: int = 8,
          lr: float | None = None, schedule: str = "cosine", warmup: int | None = None,
          weight_decay: float = 0., optimizer: str = "adamw",
          trainable: str | Sequence | None = None, text_len: int | None = None, seed: int = 0,
          log_every: int | None = None) -> dict[str, list]:
    """Trains in place and returns the history {"step": [...], "loss": [...], ...}.

    examples: the path of a JSONL file, or [{"image", "prefix", "suffix"}]; of a text-only model
    also [str]; KerasHub's {"images", "prompts", "responses"}; or token ids, [{"image", "tokens",
    "targets", "weights"}] or [{"image", "tokens", "labels"}], see training/examples.py. steps, or
    epochs over the examples. lr: the peak, default by the size of the model. warmup: steps, default
    a tenth. trainable: a regex of whole names; default: the adapters if there are any, else all.
    text_len: default as the longest example needs. More in training/fit.py.
    """
    from big_vlm.training import fit  # here: the loader takes a second to import
    if self._adapted and self._adapted() is None and trainable is None:
      raise ValueError(
          "with_lora() was called on this model and what it returned was dropped, so fit() would "
          "train all parameters: write vlm = vlm.with_lora(...), or fit(trainable='.*').")
    return fit.fit(self, examples, steps=steps, epochs=epochs, batch_size=batch_size, lr=lr,
                   schedule=schedule, warmup=warmup, weight_decay=weight_decay,
                   optimizer=optimizer, trainable=trainable, text_len=text_len, seed=seed,
                   log_every=log_every)

  def export(self, path: str | os.PathLike,
             format: Literal["hf", "npz", "keras", "native", "peft"] = "hf",
             note: Callable[[int, int], None] = lambda done, total: None,
             base: str | None = None, probes: int | None = None) -> os.PathLike:
    """Writes the model for another framework: format "hf", "npz" or "keras"; "native", which keeps
    quantized weights as they are; or its adapters alone, "peft", for the Hugging Face model `base`.

    "hf" also writes a README.md, and a probes.jsonl for tools.conform with so many `probes`, 0 for
    none; by default a few of a model that answers and has at most 500 M parameters.

    Raises ValueError for an unknown format and what a format cannot hold, and FileExistsError.
    """
    pick({**load.FORMATS, "peft": peft}, format, "checkpoint format")
    if base and format != "peft":
      raise ValueError(f"export(base={base!r}): base belongs to format='peft'.")
    if format == "peft":
      peft.export(self.model, self.params, path, base)
      return path
    return exporting.export(self.as_checkpoint(format == "native"), path, format, note, probes,
                            self.prompts)

  def as_checkpoint(self, quantized: bool = False) -> Checkpoint:
    """The model as the Checkpoint that export() writes; ValueError for adapters, and for quantized
    weights unless these are wanted."""
    plain, stored = building.leaves(self.params, self.config, quantized)
    return Checkpoint(self.source, self.config, plain, self.tokenizer_name, self.text_len,
                      stored)

  def _replace(self, params):
    return dataclasses.replace(self, params=params)

  def _requests(self, prompts, images, config):
    """([str or ids], images, GenerationSession) of what generate() takes."""
    prompts, images = prompt_input.from_dict(prompts, images)
    prompts, config = chat.expand(prompts, config, self.config, self.tokenizer)
    session = GenerationSession(self.model, self.params, self.tokenizer, config)
    return prompt_input.as_list(prompts), images, session

  def _batch(self, tokens, images, mask_ar):
    """{"text", "mask_ar", "image" if there is one} on the device; checks their shapes."""
    batch = {"text": self._ids(tokens), "mask_ar": jnp.asarray(mask_ar, jnp.int32)}
    if batch["text"].ndim != 2:
      raise ValueError(f"tokens are [B, T], not {list(batch['text'].shape)}; lists of unequal "
                       "length need generate() or score().")
    return batch if images is None else batch | {
        "image": image_input.tensor(images, self.image_size)}

  def _ids(self, ids, what="tokens"):
    return inputs.token_ids(ids, what, inputs.model_limits(self.config).vocab_size)

  def _mask_ar(self, tokens, mask_ar):
    return np.full(np.shape(tokens), 0 if self.config.img else 1) if mask_ar is None else mask_ar
