"""Changes of the logits before a token is chosen, as transformers' arguments of the same names make
them. Log-probabilities in an answer stay those of the model.

R requests, T prompt length, N the most new tokens, V vocabulary.
"""
import math
from collections.abc import Callable

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from big_vlm import inputs
from big_vlm.decode import answers


@flax.struct.dataclass
class LogitRules:
  """Rules that all requests share; None: off."""
  min_new_tokens: jax.Array  # int32 []: before so many no stop is chosen
  repetition_penalty: float | None = None  # arXiv 1909.05858, of tokens in prompt and answer
  prompt: jax.Array | None = None  # int32 [R, T], -1 is none; with a repetition_penalty
  bias: jax.Array | None = None  # float32 [V], added
  # (tokens [R, N], length [R], logits [R, V]) -> logits
  processor: Callable | None = flax.struct.field(pytree_node=False, default=None)

  def repeat(self, count):
    """The rules of `count` requests for each one."""
    return self if self.prompt is None else self.replace(
        prompt=np.repeat(self.prompt, count, axis=0))

  def change(self, logits, tokens, length):
    """Logits [R, V] after the rules that are no bans; the first `length` [R] of tokens [R, N] are
    written."""
    if self.repetition_penalty is not None:
      vocab, rows = logits.shape[1], jnp.arange(len(logits))[:, None]
      written = jnp.arange(tokens.shape[1])[None] < length[:, None]
      seen = jnp.concatenate([self.prompt, jnp.where(written, tokens, -1)], axis=1)
      seen = jnp.zeros(logits.shape, bool).at[rows, jnp.where(seen < 0, vocab, seen)].set(
          True, mode="drop")
      p = self.repetition_penalty
      logits = jnp.where(seen, jnp.where(logits > 0, logits / p, logits * p), logits)
    if self.bias is not None:
      logits = logits + self.bias[None]
    if self.processor is not None:
      changed = self.processor(tokens, length, logits)
      if jnp.shape(changed) != logits.shape:
        raise ValueError(f"logits_processor returns [R, V] logits, {list(logits.shape)} here, not "
                         f"{list(jnp.shape(changed))}.")
      logits = changed.astype(logits.dtype)
    return logits

  def without_stops(self, logits, stops, length):
    """Logits [R, V] in which answers of `length` [R] below min_new_tokens cannot stop, unless
    nothing else is allowed."""
    vocab = logits.shape[1]
    banned = logits.at[:, jnp.where(stops < 0, vocab, stops)].set(-jnp.inf, mode="drop")
    early = (length < self.min_new_tokens) & jnp.any(banned > -jnp.inf, axis=1)
    return jnp.where(early[:, None], banned, logits)


def check(config):
  """Raises ValueError for fields of a GenerationConfig that make no rule."""
  p = config.repetition_penalty
  if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 < p < math.inf:
    raise ValueError(f"repetition_penalty={p!r} is not a number above 0; 1 changes nothing, 1.2 "
                     "makes what was said less likely.")
  if config.logits_processor is not None and not callable(config.logits_processor):
    raise ValueError("logits_processor is a function (tokens, length, logits) -> logits, not "
                     f"{config.logits_processor!r:.80}.")
  if config.logit_bias is not None and not isinstance(config.logit_bias, dict):
    raise ValueError(f"logit_bias is a dict such as {{' cat': -5., 108: 2.}}, not "
                     f"{config.logit_bias!r:.80}.")


def used(config):
  """[name] of the rules that a GenerationConfig has."""
  return ["min_new_tokens"] * bool(config.min_new_tokens) + changes(config)


def changes(config):
  """[name] of those that do more than forbid a stop: scores would be of their logits."""
  return [name for name, given in (("repetition_penalty", config.repetition_penalty != 1),
                                   ("logit_bias", config.logit_bias),
                                   ("logits_processor", config.logits_processor)) if given]


def of(config, prompts, rows, tokenizer, vocab_size):
  """The LogitRules of a GenerationConfig for prompts [ids] and padding rows after them, or None.

  Raises ValueError for a logit_bias of what is not one token, or twice of one, or that leaves no
  token.
  """
  if not used(config):
    return None
  bias = prompt = penalty = None
  if config.logit_bias:
    bias, named = np.zeros(vocab_size, np.float32), {}
    for key, value in config.logit_bias.items():
      if (token := _token(key, tokenizer, vocab_size)) in named:
        raise ValueError(f"logit_bias has {named[token]!r:.80} and {key!r:.80}, which are the same "
                         f"token, {token}: give it once.")
      named[token], bias[token] = key, _number(key, value)
    if np.all(bias == -np.inf):
      raise ValueError("logit_bias leaves no token that an answer may have.")
  if config.repetition_penalty != 1:
    penalty, longest = float(config.repetition_penalty), max(map(len, prompts))
    prompt = np.full((rows, inputs.bucket(max(longest, 16))), -1, np.int32)
    for i, ids in enumerate(prompts):
      prompt[i, :len(ids)] = ids
  return LogitRules(np.int32(config.min_new_tokens), penalty, prompt, bias, config.logits_processor)


def _token(key, tokenizer, vocab_size):
  """The id of a key of logit_bias."""
  if isinstance(key, str):
    if not tokenizer:
      raise ValueError(f"logit_bias has the text {key!r:.80}, but the model came without a "
                       "tokenizer: give ids.")
    eos = tokenizer.eos_token  # which no text holds; -1: there is none
    ids = [eos] if eos >= 0 and key == tokenizer.piece(eos) else tokenizer.to_int(key)
    if len(ids) != 1:
      pieces = ", ".join(repr(answers.text_of(tokenizer, [i])) for i in ids[:8])
      raise ValueError(f"logit_bias has {key!r:.80}, which is {len(ids)} tokens ({pieces}) and not "
                       "one: give those that you mean, as texts or ids.")
    key, = ids
  if isinstance(key, bool) or not isinstance(key, (int, np.integer)) or not 0 <= key < vocab_size:
    raise ValueError(f"logit_bias has the key {key!r:.80}, which is neither a text nor the id of "
                     f"one of {vocab_size} tokens.")
  return int(key)


def _number(key, value):
  if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or (
      not value < math.inf):  # NaN too
    raise ValueError(f"logit_bias of {key!r:.80} is {value!r:.80}, not a number that is added to "
                     "the token's logit; float('-inf') forbids it.")
  return value
