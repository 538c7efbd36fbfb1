"""Speculative decoding by prompt lookup: the answer is guessed to go on as the text did before.

R requests, C tokens of prompt and answer, K drafted tokens, V vocabulary. A step reads the newest
token and K drafts at once, and keeps the drafts that greedy decoding would have written: as many
as in all rows, so that rows stay in step. Answers are those of "greedy"; what is copied from the
prompt, or repeats itself, as lists of boxes and tables do, comes several tokens at a time.
"""
import flax.struct
import jax
import jax.numpy as jnp

from big_vlm.decode import search

MOST = 4  # tokens before a place that are compared; longer matches are no better


@flax.struct.dataclass
class PromptLookup(search.Sample):
  """Greedy; its Request has the prompts."""
  filters: tuple = ()
  draw: bool = flax.struct.field(pytree_node=False, default=False)
  drafts: int = flax.struct.field(pytree_node=False, default=8)

  def init(self, request, state, logits, hidden, cache):
    return super().init(request, state, logits, hidden, cache.grow(self.drafts))

  def step(self, request, state, carry, extend):
    cache, fsm_state = carry
    draft = continuation(*_texts(request.prompt, state), self.drafts)
    read = cache.length
    logits, _, cache = extend(jnp.concatenate([state.newest()[:, None], draft], axis=1), cache)
    right, kept = jnp.bool(True), 0  # all drafts so far, in all rows
    for i in range(self.drafts + 1):
      new, (_, new_fsm) = self._write(request, state, logits[:, i], None, fsm_state)
      state, fsm_state = jax.tree.map(lambda a, b, right=right: jnp.where(right, a, b),
                                      (new, new_fsm), (state, fsm_state))
      kept += right
      if i < self.drafts:
        right &= jnp.all(state.finished | (draft[:, i] == state.newest()))
    return state, (cache.rewind(read + kept), fsm_state)


def _texts(prompt, state):
  """(int32 [R, C], lengths [R]): each prompt, -1 where it has ended, with its answer after it."""
  length = jnp.sum(prompt >= 0, axis=1)
  both = jnp.concatenate([prompt, state.tokens], axis=1)
  place = jnp.arange(both.shape[1])[None] - length[:, None]
  answer = jnp.take_along_axis(state.tokens, jnp.clip(place, 0, state.tokens.shape[1] - 1), axis=1)
  return jnp.where(place < 0, both, answer), length + state.length


def continuation(text, length, count):
  """int32 [R, count]: what followed the last place whose tokens are most like the newest ones, at
  most MOST of them; text [R, C] repeats itself where that place is near its end."""
  newest = jnp.clip(length[:, None] - 1 - jnp.arange(MOST)[None], 0)
  newest = jnp.take_along_axis(text, newest, axis=1)
  same = jnp.ones(text.shape, bool)
  alike = jnp.zeros(text.shape, jnp.int32)
  for k in range(MOST):
    before = jnp.pad(text, ((0, 0), (k, 0)), constant_values=-1)[:, :text.shape[1]]
    same &= before == newest[:, k:k + 1]
    alike += same
  place = jnp.arange(text.shape[1])[None]
  rank = jnp.where(place < length[:, None] - 1, alike * text.shape[1] + place, -1)
  first = jnp.argmax(rank, axis=1) + 1
  period = jnp.maximum(length - first, 1)
  follows = first[:, None] + jnp.arange(count)[None] % period[:, None]
  return jnp.maximum(jnp.take_along_axis(text, jnp.clip(follows, 0, text.shape[1] - 1), axis=1), 0)
