"""One call of generate() or stream(): what is asked is checked, laid out in batches and decoded."""
import dataclasses

import numpy as np

from big_vlm import inputs, sharding
from big_vlm.decode import answers, grammar, samplers
from big_vlm.decode.generate import decode
from big_vlm.decode.search import Request, Sample

PROMPTS = 64  # that are decoded side by side
LOOK = 4  # tokens between two looks at what is decoded, where somebody looks


@dataclasses.dataclass(frozen=True)
class GenerationConfig:
  """The arguments of VLM.generate, which explains them. Raises ValueError for what makes no sense.
  """
  max_new_tokens: int = 64
  max_length: int | None = None
  sampler: str = "greedy"
  stop: tuple = ("eos",)
  seed: int = 0
  num_samples: int = 1
  strip_prompt: bool = True
  grammar: str | None = None
  no_repeat_ngram: int = 0
  cache_dtype: str | None = None

  def __post_init__(self):
    for name, least in (("max_new_tokens", 0), ("max_length", 1), ("num_samples", 1),
                        ("no_repeat_ngram", 0)):
      value = getattr(self, name)
      if name == "max_length" and value is None:
        continue
      if not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name}={value!r} is not a whole number of {least} or more.")
    if self.cache_dtype not in (None, "float32", "bfloat16", "int8"):
      raise ValueError(f"cache_dtype={self.cache_dtype!r} is not 'float32', 'bfloat16' or 'int8'.")


class GenerationSession:
  """All is checked here, before anything runs. Answers are numbered prompt by prompt, samples of a
  prompt side by side."""

  def __init__(self, vlm, prompts, images, options):
    self._vlm, self._options = vlm, options
    self._search = samplers.build(options.sampler)
    # Draws for one answer: the best of them counts.
    self._draws = self._search.n if isinstance(self._search, Sample) else 1
    self.prompts = inputs.as_list(prompts)
    self.count = len(self.prompts) * options.num_samples
    self._eos = vlm.tokenizer.eos_token if vlm.tokenizer else vlm.config.llm.eos_token
    self._stops = answers.stops(options.stop, self._eos)
    if self._stops.texts and not vlm.tokenizer:
      raise ValueError(f"stop={self._stops.texts[0]!r} is a string, but the model came without a "
                       "tokenizer: give the ids of tokens that end an answer.")
    if self._stops.texts and not isinstance(self._search, Sample):
      raise ValueError(f"{options.sampler!r} ends answers at tokens: give stop as token ids.")
    self._limits, self._rows = inputs.model_limits(vlm.config), sharding.batch_rows(vlm.mesh)
    new = options.max_length or options.max_new_tokens
    images = inputs.by_prompt(images, len(self.prompts))
    self._parts = [slice(i, i + PROMPTS) for i in range(0, len(self.prompts), PROMPTS)]
    self._asked = [inputs.pack_requests(self.prompts[part], images[part], vlm.tokenizer, self._limits, new,
                               self._rows) for part in self._parts]
    samples = options.num_samples * self._draws
    seeds = inputs.seeds([d for asked in self._asked for d in asked.digests], options.seed, samples)
    self._requests = [self._request(asked, part, seeds.reshape(-1, samples)[part].reshape(-1))
                      for asked, part in zip(self._asked, self._parts)]

  def text_of_prompt(self, answer):
    """The prompt of an answer, as text."""
    prompt = self.prompts[answer // self._options.num_samples]
    return prompt if isinstance(prompt, str) else answers.text_of(self._vlm.tokenizer, prompt)

  def answers(self):
    """The Generations, all of them at the end."""
    out = []
    for asked, request in zip(self._asked, self._requests):
      for draws, _ in self._decode(asked, request, LOOK if self._stops.texts else None):
        last = draws
      out += [max(last[i:i + self._draws], key=lambda g: sum(g.logprobs))
              for i in range(0, len(last), self._draws)]
    return out

  def pieces(self):
    """Yields (answer, piece of its text) as they come, tokens at a time; returns [Generation].

    Raises ValueError for a search that knows its answer only at the end.
    """
    if not isinstance(self._search, Sample) or self._draws > 1:
      raise ValueError("stream() shows tokens as they come, but the sampler "
                       f"{self._options.sampler!r} changes its mind: use generate() with it.")
    whole = []
    for asked, request in zip(self._asked, self._requests):
      shown = {}
      for found, ended in self._decode(asked, request, LOOK):
        for i, generation in enumerate(found):
          text = generation.text
          if not ended[i]:
            text = answers.stable_prefix(text, self._stops)
          if piece := text[shown.get(i, 0):]:
            shown[i] = len(text)
            yield len(whole) + i, piece
      whole += found
    return whole

  def _decode(self, asked, request, every):
    """Yields ([Generation so far], [whether it has ended]) of all draws: at the end, and with
    `every` each time so many tokens are there."""
    vlm, count = self._vlm, asked.count * self._options.num_samples * self._draws
    states = decode(vlm.model, vlm.params, sharding.make_global_array(vlm.mesh, asked.batch), request,
                    self._search, new=asked.new, repeat=self._options.num_samples * self._draws,
                    cache_dtype=self._options.cache_dtype or vlm.config.llm.dtype, every=every)
    state = next(states)
    while True:
      found = [answers.generation(tokens[:n], logprobs[:n], self._stops, vlm.tokenizer)
               for tokens, logprobs, n in zip(state.tokens[:count], state.logprobs, state.length)]
      halted = state.done.copy()
      halted[:count] |= [g.finish_reason == "stop" for g in found]
      yield found, halted[:count]
      try:
        state = states.send(halted)
      except StopIteration:
        return

  def _request(self, asked, part, seeds):
    samples = len(seeds) // asked.count
    rows = len(asked.batch["text"])
    limit = np.zeros(rows, np.int32)
    for i, (ids, images) in enumerate(zip(asked.prompts, asked.images)):
      wanted = self._options.max_new_tokens
      if self._options.max_length is not None:
        wanted = max(self._options.max_length - len(ids), 0)
      room = self._limits.tokens - images * self._limits.image_tokens - len(ids)
      limit[i] = min(wanted, room, asked.new)
    stops = np.full(inputs.bucket(max(len(self._stops.all_ids), 1)), -1, np.int32)
    stops[:len(self._stops.all_ids)] = self._stops.all_ids
    rules = None
    if self._options.grammar:
      texts = [self.text_of_prompt(i * self._options.num_samples)
               for i in range(len(self.prompts))[part]]
      texts += texts[-1:] * (rows - len(texts))
      rules = grammar.compile(self._options.grammar, texts, self._vlm.tokenizer,
                              -1 if self._stops.eos is None else self._eos)
      rules = grammar.Grammar(np.repeat(rules.edges, samples, axis=0))
    return Request(seed=np.resize(seeds, rows * samples), limit=np.repeat(limit, samples),
                   stops=stops, grammar=rules, no_repeat_ngram=self._options.no_repeat_ngram)
