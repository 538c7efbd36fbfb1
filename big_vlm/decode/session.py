"""A decoding session: one GenerationConfig over one model, for VLM.generate and for evaluators."""
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from big_vlm import image_input, inputs, prompt_input, sharding
from big_vlm.decode import answers, grammar, logit_rules, samplers, structured
from big_vlm.decode.beams import HFBeam
from big_vlm.decode.generate import decode, decode_by_masks
from big_vlm.decode.logit_rules import LogitRules
from big_vlm.decode.prompt_lookup import PromptLookup
from big_vlm.decode.search import Request, Sample, TokenByToken
from pp import text_layout
from pp.names import pick

MAX_PROMPTS = 64  # that are decoded side by side
CHECK_EVERY = 4  # tokens between two looks at the answers, where a stop text or a stream needs them


@dataclasses.dataclass(frozen=True)
class GenerationConfig:
  """The arguments of VLM.generate, which explains them. Raises ValueError for invalid ones."""
  max_new_tokens: int = 64
  max_length: int | None = None
  sampler: str = "greedy"
  stop: tuple = ("eos",)
  seed: int = 0
  num_samples: int = 1
  strip_prompt: bool = True
  grammar: str | dict | list | tuple | None = None
  no_repeat_ngram: int = 0
  cache_dtype: str | None = None
  min_new_tokens: int = 0
  repetition_penalty: float = 1.
  logit_bias: dict | None = None
  logits_processor: Callable | None = None
  answer_start: str | list | tuple | None = None

  def __post_init__(self):
    for name, least in (("max_new_tokens", 0), ("max_length", 1), ("num_samples", 1),
                        ("no_repeat_ngram", 0), ("min_new_tokens", 0)):
      value = getattr(self, name)
      if name == "max_length" and value is None:
        continue
      if not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name}={value!r} is not a whole number of {least} or more.")
    if self.cache_dtype not in (None, "float32", "bfloat16", "int8"):
      raise ValueError(f"cache_dtype={self.cache_dtype!r} is not 'float32', 'bfloat16' or 'int8'.")
    if structured.normalized(self.grammar) is None and self.grammar is not None:
      pick({**grammar.KINDS, "json": None}, self.grammar, "grammar")
    logit_rules.check(self)


@dataclasses.dataclass(frozen=True)
class Batch:
  """Laid-out requests; `count` prompts are real, the rows after them are padding."""
  count: int
  arrays: dict  # as decode() takes it
  limit: np.ndarray  # int32 [B]: most new tokens; 0: a padding row
  seeds: np.ndarray  # uint32 [B * samples]
  new: int  # room for new tokens, at least all limits
  fsm: grammar.Grammar | None = None  # of B rows
  logit_rules: LogitRules | None = None  # likewise
  image_digests: tuple = ()  # bytes of each image, a hash of its pixels


class GenerationSession:
  """Decodes batches of requests. Answers are numbered prompt by prompt, samples of a prompt side by
  side; an image is encoded once, however many samples there are."""

  def __init__(self, model, params, tokenizer, config):
    self._model, self._params, self._tokenizer, self._config = model, params, tokenizer, config
    self._limits = inputs.model_limits(model.config)
    self.search = samplers.build(config.sampler)
    self._ranks = isinstance(self.search, HFBeam)  # has several answers from one row of the cache
    most = self.search.n if self._ranks else math.inf if getattr(self.search, "draw", False) else 1
    if 1 == most < config.num_samples:
      raise ValueError(f"num_samples={config.num_samples} of {config.sampler!r} would be one "
                       "answer again and again, since it draws nothing: leave num_samples out, or "
                       "take a sampler that draws, such as 'temperature(1.)'.")
    if config.num_samples > most:
      raise ValueError(f"num_samples={config.num_samples} of {config.sampler!r}: there are {most} "
                       "beams.")
    if self._ranks and 2 * self.search.n > self._limits.vocab_size:
      raise ValueError(f"{config.sampler!r} has more beams than half of the "
                       f"{self._limits.vocab_size:,} tokens of the model.")
    # Draws for one answer: the best of them counts.
    self._draws = self.search.n if isinstance(self.search, Sample) else 1
    self.samples = config.num_samples * self._draws
    eos = tokenizer.eos_token if tokenizer else model.config.llm.eos_token
    self.stops = answers.stop_criteria(config.stop, eos, tokenizer)
    if self.stops.texts and not tokenizer:
      raise ValueError(f"stop={self.stops.texts[0]!r} is a string, but the model came without a "
                       "tokenizer: give the ids of tokens that end an answer.")
    if (changed := logit_rules.changes(config)) and not isinstance(self.search, Sample):
      raise ValueError(f"{changed[0]} is for 'greedy' and the samplers that draw; the score of "
                       f"{config.sampler!r} would be of other probabilities than the model's.")
    if self.stops.texts and not isinstance(self.search, Sample):
      raise ValueError(f"{config.sampler!r} ends answers at tokens: give stop as token ids.")
    self.structure = structured.normalized(config.grammar)
    if self.structure:
      self._check_structure()

  def _check_structure(self):
    if self.choices and logit_rules.used(self._config):
      raise ValueError("A grammar of choices compares whole texts: leave min_new_tokens, "
                       "repetition_penalty, logit_bias and logits_processor out.")
    if not self._tokenizer:
      raise ValueError("A grammar is of texts, but the model came without a tokenizer.")
    if not isinstance(self.search, TokenByToken) or isinstance(self.search, PromptLookup):
      raise ValueError(f"{self._config.sampler!r} looks at several tokens at once, and a grammar "
                       "of this kind follows one: take 'greedy' or a sampler that draws.")
    if self.stops.eos is None:
      raise ValueError("An answer of a grammar ends with the eos: name 'eos' among the stops.")

  @property
  def choices(self):
    """The texts of a grammar that is a list of choices; None of others."""
    return (self.structure or {}).get("choices")

  @functools.cached_property
  def automaton(self):
    """The TokenAutomaton of a grammar that is a regex or a JSON schema; None of others."""
    if not self.structure or self.choices:
      return None
    return structured.compile(self.structure, self._tokenizer, self.stops.eos,
                              self._limits.vocab_size)

  def batches(self, prompts, images, mesh):
    """Yields the Batch of a user's prompts [str or ids] and images, MAX_PROMPTS after another: the
    pixels of one batch are in memory at a time. See image_input.by_prompt for the images."""
    for batch in self.host_batches(prompts, images, sharding.batch_rows(mesh)):
      yield dataclasses.replace(batch, arrays=sharding.make_global_array(mesh, batch.arrays))

  def host_batches(self, prompts, images, rows=1, room=None):
    """batches() whose arrays are numpy. rows: of which their numbers are multiples. room: for new
    tokens, where batches of other limits are to have the same."""
    config, starts = self._config, self._answer_starts(len(prompts))
    image_input.check_seen(images, self._limits.image_size)
    images = iter(image_input.by_prompt(images, len(prompts)))
    given = inputs.seed_of_each(config.seed, len(prompts))
    for first in range(0, len(prompts), MAX_PROMPTS):
      part = prompts[first:first + MAX_PROMPTS]
      packed = inputs.pack_requests(
          part, list(itertools.islice(images, len(part))), self._tokenizer, self._limits,
          room or config.max_length or config.max_new_tokens, rows,
          starts and starts[first:first + MAX_PROMPTS], first)
      seeds = inputs.seeds(packed.digests, given[first:first + MAX_PROMPTS], self.samples)
      yield self._batch(packed, part, seeds, first)

  def _answer_starts(self, count):
    """[ids] of the answers that so many prompts begin with, or None."""
    if self._config.answer_start is None:
      return None
    if self._config.grammar:
      raise ValueError("answer_start and a grammar: a grammar is of whole answers, leave either.")
    starts = prompt_input.as_list(self._config.answer_start, "answer_start")
    if len(starts) not in (1, count):
      raise ValueError(f"There are {count} prompts and {len(starts)} starts of answers: give one, "
                       "or one for each.")
    if self._tokenizer is None and any(isinstance(s, str) for s in starts):
      raise ValueError("answer_start is a string, but the model came without a tokenizer: give "
                       "token ids.")
    ids = [self._tokenizer.to_int(s) if isinstance(s, str) else
           prompt_input.check_ids(s, "answer_start") for s in starts]
    return ids * (count // len(ids))

  def _batch(self, packed, prompts, seeds, first):
    limits, rows, config = self._limits, len(packed.batch["text"]), self._config
    limit = np.zeros(rows, np.int32)
    for i, (ids, images) in enumerate(zip(packed.read, packed.images)):
      wanted = (config.max_new_tokens if config.max_length is None else
                config.max_length - len(ids))
      if wanted < 0 or (config.max_length and not wanted):
        raise ValueError(f"max_length={config.max_length} leaves no room for an answer: prompt "
                         f"{first + i} has {len(ids)} tokens. max_new_tokens limits the answer "
                         "alone.")
      limit[i] = min(wanted, limits.tokens - images * limits.image_tokens - len(ids), packed.new)
      self.check_room(limit[i], f"prompt {first + i}")
    own = logit_rules.of(config, packed.read, rows, self._tokenizer, limits.vocab_size)
    arrays = {k: x for k, x in packed.batch.items() if k != "mask_loss"}
    lengths = np.pad([len(ids) for ids in packed.read], (0, rows - packed.count))
    place = np.arange(arrays["text"].shape[1])[None]
    arrays["mask_input"] = (place < lengths[:, None]).astype(np.int32)  # with a given start
    return Batch(packed.count, arrays, limit, np.resize(seeds, rows * self.samples), packed.new,
                 self.grammar(prompts, rows), own, tuple(packed.image_digests))

  def grammar(self, prompts, rows):
    """The Grammar of prompts [str or ids] and padding rows after them; None without one."""
    if not self._config.grammar or self.structure:
      return None
    texts = [self.prompt_text(p) for p in prompts]
    texts += texts[-1:] * (rows - len(texts))
    return grammar.compile(self._config.grammar, texts, self._tokenizer, self.stops.eos)

  def check_room(self, limit, what):
    """Raises ValueError where a grammar's answers need more tokens than `what` has room for."""
    least = self.automaton.least if self.automaton else 0
    if limit < least:
      raise ValueError(f"The shortest answer of the grammar has {least} tokens, its end included, "
                       f"and {what} has room for {limit}: raise max_new_tokens.")

  def lead(self, prompts, i):
    """The text before answer i where prompts are shown: the prompt, and the answer's start."""
    prompt = i // self._config.num_samples
    starts = self._answer_starts(len(prompts))
    start = answers.text_of(self._tokenizer, starts[prompt]) if starts else ""
    return self.prompt_text(prompts[prompt]) + start

  def prompt_text(self, prompt):
    """A prompt, str or ids, as text, with the separator that the model read."""
    if isinstance(prompt, str):
      return text_layout.prompt_text(prompt, bool(self._limits.image_size))
    return answers.text_of(self._tokenizer, prompt)

  def answers(self, batches):
    """[Generation] of the batches, when all of them have finished."""
    out = []
    for batch in batches:
      *_, (draws, _) = self._decode(batch, CHECK_EVERY if self.stops.texts else None)
      out += [max(draws[i:i + self._draws], key=lambda g: sum(g.logprobs))
              for i in range(0, len(draws), self._draws)]
    return out

  def pieces(self, batches):
    """Yields (answer, piece of its text) as they come, tokens at a time; returns [Generation].

    Raises ValueError for a search that knows its answer only at the end.
    """
    if self.choices:
      raise ValueError("Choices are weighed whole and come at once: use generate() with them.")
    if not isinstance(self.search, Sample) or self._draws > 1:
      raise ValueError("stream() shows tokens as they come, but the sampler "
                       f"{self._config.sampler!r} changes its mind: use generate() with it.")
    out = []
    for batch in batches:
      shown = {}
      for found, finished in self._decode(batch, CHECK_EVERY):
        for i, generation in enumerate(found):
          text = generation.text
          if not finished[i]:
            text = answers.stable_prefix(text, self.stops)
          if piece := text[shown.get(i, 0):]:
            shown[i] = len(text)
            yield len(out) + i, piece
      out += found
    return out

  def _decode(self, batch, every):
    """Yields ([Generation so far], [whether it has finished]) of all draws: at the end, and with
    `every` each time so many tokens are written."""
    count, ids = batch.count * self.samples, self.stops.all_ids
    stops = np.full(inputs.bucket(max(len(ids), 1)), -1, np.int32)
    stops[:len(ids)] = ids
    fsm = batch.fsm and grammar.Grammar(np.repeat(batch.fsm.edges, self.samples, axis=0))
    own = batch.logit_rules and batch.logit_rules.repeat(self.samples)
    prompt = None
    if isinstance(self.search, PromptLookup):
      prompt = jnp.where(batch.arrays["mask_input"] != 0, batch.arrays["text"], -1)
    request = Request(seed=batch.seeds, limit=np.repeat(batch.limit, self.samples), stops=stops,
                      grammar=fsm, no_repeat_ngram=self._config.no_repeat_ngram, logit_rules=own,
                      prompt=prompt)
    args = (self._model, self._params, batch.arrays, request, self.search)
    sizes = dict(new=batch.new, repeat=1 if self._ranks else self.samples,
                 cache_dtype=self._config.cache_dtype or self._model.config.llm.dtype)
    if self.automaton:
      rows = structured.BatchMatcher(len(request.limit), self._limits.vocab_size)
      for row, limit in enumerate(request.limit):
        rows.put(row, self.automaton, limit)
      states = decode_by_masks(*args, rows.masks, **sizes)
    else:
      states = decode(*args, **sizes, every=every)
    state = next(states)
    while True:
      found = [answers.generation(tokens[:n], logprobs[:n], self.stops, self._tokenizer)
               for tokens, logprobs, n in zip(state.tokens[:count], state.logprobs, state.length)]
      finished = state.finished.copy()
      finished[:count] |= [g.finish_reason == "stop" for g in found]
      yield found, finished[:count]
      try:
        state = states.send(finished)
      except StopIteration:
        return
