import dataclasses

import jax
import numpy as np
import pytest

from big_vlm.decode import generate, samplers, slots
from big_vlm.decode.session import GenerationConfig, GenerationSession

PROMPT, NEW = 64, 16  # positions; answers go round the ring of 16 several times


def engine(vlm, count=3):
  stops = [vlm.tokenizer.eos_token] if vlm.tokenizer else []
  return slots.Slots(vlm.model, vlm.params, vlm.mesh, slots=count, prompt=PROMPT, new=NEW,
                     stops=stops)


def batch_of(vlm, prompt, image, **config):
  """(session, numpy Batch) of one request."""
  session = GenerationSession(vlm.model, vlm.params, vlm.tokenizer, GenerationConfig(**config))
  batch, = session.host_batches([prompt], [image], room=NEW)
  return session, batch


def entry(vlm, slot, prompt, image, config):
  session, batch = batch_of(vlm, prompt, image, **config)
  return slots.Entry(slot, batch, session.search, session.automaton)


def decode(vlm, requests, order, count=3, together=1, most=1):
  """[(tokens, logprobs)] of requests [(prompt, image, config)] that join in some order, at most
  `together` between two rounds of `most` tokens."""
  running, found, at = {}, {}, engine(vlm, count)
  waiting = list(order)
  while waiting or running:
    free = [slot for slot in range(count) if slot not in running][:together]
    entries = {i: entry(vlm, slot, *requests[i]) for slot, i in zip(free, waiting)}
    if alike := [i for i, e in entries.items() if e.shape == entries[waiting[0]].shape]:
      at.admit([entries[i] for i in alike])
      running |= {entries[i].slot: i for i in alike}
      waiting = [i for i in waiting if i not in alike]
    state = at.fetch()
    for slot in [s for s in running if state.finished[s]]:
      n = state.length[slot]
      found[running.pop(slot)] = (state.tokens[slot, :n].tolist(), state.logprobs[slot, :n])
    at.advance(np.isin(np.arange(at.count), list(running), invert=True), most=most)
  return [found[i] for i in range(len(requests))]


@pytest.fixture
def requests(rng):
  images = rng.integers(0, 256, (3, 20, 30, 3)).astype(np.uint8)
  configs = [dict(max_new_tokens=16), dict(max_new_tokens=5, sampler="temperature(2.)", seed=3),
             dict(max_new_tokens=11, sampler="top_p(.8, t=3.)", seed=4), dict(max_new_tokens=1),
             dict(max_new_tokens=16, sampler="temperature(3.)", seed=-1)]
  return [(f"answer en {'how many ' * (i % 4)}{i}", images[i % 3] if i % 5 else None,
           configs[i % len(configs)]) for i in range(12)]


def alone(vlm, request):
  prompt, image, config = request
  answer, = vlm.generate(prompt, [image], **config)
  return answer


def test_answers_are_those_of_generate_in_any_order(vlm, requests):
  wanted = [alone(vlm, r) for r in requests]
  for order, more in ((range(12), {}), (range(11, -1, -1), dict(together=3, most=5))):
    for (tokens, logprobs), answer in zip(decode(vlm, requests, order, **more), wanted):
      assert tokens == answer.tokens
      np.testing.assert_allclose(logprobs, answer.logprobs, atol=1e-5)


def test_answers_with_a_grammar_join_others(vlm, requests):
  """Each has its own, or none; the program for them is another than that for free ones."""
  grammars = [{"regex": "[a-z]{2,}"}, None, {"json_schema": {"type": "integer"}}]
  mixed = [(prompt, image, {**config, "max_new_tokens": 12, "grammar": grammars[i % 3]})
           for i, (prompt, image, config) in enumerate(requests)]
  for (tokens, _), request in zip(decode(vlm, mixed, range(12)), mixed):
    assert tokens == alone(vlm, request).tokens


def test_nothing_compiles_twice(vlm, requests):
  """One step, and for each size of prompts (here with or without an image) one prefill."""
  jax.clear_caches()
  decode(vlm, requests, range(12))
  assert [p._cache_size() for p in (generate.advance(), slots._admit())] == [1, 2]


@pytest.mark.parametrize("name", ["gemma3_tiny", "opt_tiny"])
def test_other_decoders(name, mesh1):
  """Windows go by the places of tokens in their text, and so do learned positions."""
  from big_vlm.vlm import VLM
  small = VLM.from_config(dict(llm=dict(variant=name)), mesh=mesh1)
  requests = [([5 + i, 6, 7, 8 + i][:2 + i % 3], None,
               dict(max_new_tokens=16 - i, stop=())) for i in range(5)]
  at = slots.Slots(small.model, small.params, small.mesh, slots=2, prompt=16, new=NEW, stops=[])
  found = []
  for first in range(0, 5, 2):
    part = requests[first:first + 2]
    for slot, request in enumerate(part):
      at.admit([entry(small, slot, *request)])
    for _ in range(NEW):
      at.advance(np.arange(2) >= len(part))
    state = at.fetch()
    found += [state.tokens[i, :state.length[i]].tolist() for i in range(len(part))]
  assert found == [alone(small, r).tokens for r in requests]


def test_devices_share_the_slots(source, stirred, image):
  import big_vlm
  vlm = stirred(big_vlm.from_preset(source, load_weights=False))
  assert vlm.mesh.size == jax.device_count() > 1
  requests = [(f"ocr {i}", image, dict(max_new_tokens=4)) for i in range(3)]
  found = decode(vlm, requests, range(3), count=8, together=2)
  assert [tokens for tokens, _ in found] == [alone(vlm, r).tokens for r in requests]


@pytest.mark.parametrize(
    "sampler", ["beam(2)", "top_k(3)", "best_of(2)", "contrastive()", "prompt_lookup()"])
def test_other_samplers_are_refused_by_name(sampler):
  with pytest.raises(ValueError, match="share a batch are sampled by"):
    slots.row_numbers(samplers.build(sampler))


def test_numbers_of_samplers():
  numbers = lambda text: slots.row_numbers(samplers.build(text))
  assert numbers("greedy") == (0, 1) and numbers("temperature(.7)") == (.7, 1)
  assert numbers("top_p(.9, t=.7)") == (.7, .9)


def test_another_room_is_refused(vlm):
  session, batch = batch_of(vlm, "ocr", None, max_new_tokens=4)
  with pytest.raises(ValueError, match="room for 32"):
    engine(vlm).admit([slots.Entry(0, dataclasses.replace(batch, new=32), session.search)])
