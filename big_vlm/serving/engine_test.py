import dataclasses
import queue
import threading

import numpy as np
import pytest

from big_vlm.decode.session import GenerationConfig
from big_vlm.serving import engine as engines
from big_vlm.serving.engine import Engine, Sizes

SIZES = Sizes(slots=4, prompt_tokens=32, images=1, new_tokens=16, queue=12, round_seconds=0)


@pytest.fixture(scope="module")
def engine(vlm):
  engine = Engine(vlm, SIZES)
  engine.start()
  yield engine
  engine.close()


def ask(engine, prompt, images=(), every=True, **config):
  """(Job, queue of its Updates), submitted."""
  job, updates = ask_later(engine, prompt, images, every, **config)
  engine.submit(job)
  return job, updates


def ask_later(engine, prompt, images=(), every=True, **config):
  updates = queue.SimpleQueue()
  return engine.job(prompt, images, GenerationConfig(**config), updates.put, every), updates


def whole(updates):
  """[Update] up to the last one."""
  found = []
  while not found or not (found[-1].generation or found[-1].error):
    found.append(updates.get(timeout=60))
  return found


def test_updates_add_up_to_the_answer_of_generate(vlm, engine, image):
  config = dict(max_new_tokens=16, sampler="temperature(2.)", seed=5)
  wanted, = vlm.generate("caption en", image, **config)
  _, updates = ask(engine, "caption en", [image], **config)
  found = whole(updates)
  assert len(found) > 2 and found[-1].generation.tokens == wanted.tokens
  assert "".join(u.text for u in found) == wanted.text == found[-1].generation.text
  assert [t for u in found for t in u.tokens] == wanted.tokens
  _, updates = ask(engine, "caption en", [image], every=False, **config)
  assert len(whole(updates)) == 1


def test_stop_texts(vlm, engine):
  """A piece of the answer in the middle ends it; what may become one is held back."""
  free, = vlm.generate("ocr", [None], max_new_tokens=16, stop=())
  config = dict(max_new_tokens=16, stop=("eos", free.text[5:8]))
  wanted, = vlm.generate("ocr", [None], **config)
  assert wanted.finish_reason == "stop"
  found = whole(ask(engine, "ocr", **config)[1])
  assert found[-1].generation.tokens == wanted.tokens
  assert "".join(u.text for u in found) == wanted.text


def test_many_at_once_are_each_alone(vlm, engine, rng):
  images, before = rng.integers(0, 256, (3, 20, 30, 3)).astype(np.uint8), engine.stats["images"]
  rows = [(f"ocr {i}", images[i % 3], dict(max_new_tokens=1 + i % 16, seed=i,
                                           sampler=("greedy", "top_p(.8, t=2.)")[i % 2]))
          for i in range(12)]
  asked = [ask(engine, prompt, [image], every=False, **config) for prompt, image, config in rows]
  for (prompt, image, config), (_, updates) in zip(rows, asked):
    wanted, = vlm.generate(prompt, image, **config)
    assert whole(updates)[-1].generation.tokens == wanted.tokens
  assert engine.stats["images"] <= before + 3  # each was encoded once at most


def test_rounds_of_several_tokens(vlm, rng):
  """Nobody looks at each token; requests that wait are read together."""
  engine = Engine(vlm, dataclasses.replace(SIZES, round_seconds=9))
  rows = [(f"ocr {i}", dict(max_new_tokens=2 + i, seed=i, sampler="temperature(2.)"))
          for i in range(9)]
  asked = [ask_later(engine, prompt, **config) for prompt, config in rows]
  engine.start()
  for job, _ in asked:
    engine.submit(job)
  found = [whole(updates) for _, updates in asked]
  for (prompt, config), updates in zip(rows, found):
    wanted, = vlm.generate(prompt, [None], **config)
    assert updates[-1].generation.tokens == wanted.tokens
    assert "".join(u.text for u in updates) == wanted.text
  assert engine.stats["prefills"] == 9 and sum(map(len, found)) < 40  # of 54 tokens
  engine.close()


def test_a_cancelled_request_frees_its_slot(vlm, engine):
  before = engine.stats["cancelled"]
  shown, gate = queue.SimpleQueue(), threading.Event()

  def show(update):  # holds the engine, so that the job runs for as long as the test wants
    shown.put(update)
    gate.wait(60)
  job = engine.job("ocr", [], GenerationConfig(max_new_tokens=16), show)
  engine.submit(job)
  shown.get(timeout=60)
  assert engine.running == 1
  engine.cancel(job)
  gate.set()
  whole(ask(engine, "ocr", max_new_tokens=4)[1])
  assert engine.running == 0 and engine.stats["cancelled"] == before + 1 and shown.empty()


def test_a_full_queue_and_a_closed_engine(vlm):
  engine = Engine(vlm, SIZES)
  job = lambda show=print, new=2: engine.job(
      "ocr", [], GenerationConfig(max_new_tokens=new), show)
  with pytest.raises(engines.Closed):  # not started
    engine.submit(job())
  held, gate, ended = threading.Event(), threading.Event(), []
  engine.start()
  engine.submit(job(lambda update: (held.set(), gate.wait(60)), new=8))  # at its second token
  assert held.wait(60) and engine.running == 1
  waiting = [job(ended.append) for _ in range(SIZES.queue)]
  for one in waiting:
    engine.submit(one)
  with pytest.raises(engines.Full):
    engine.submit(job())
  engine.cancel(waiting.pop())
  engine.submit(job(ended.append))  # in its place
  gate.set()
  engine.close()
  assert sum(u.generation is not None for u in ended) == SIZES.queue  # all that were submitted
  with pytest.raises(engines.Closed):
    engine.submit(job())


def test_an_error_of_the_device_is_each_requests_error(vlm, monkeypatch):
  engine = Engine(vlm, SIZES)
  real = engine._slots.advance
  monkeypatch.setattr(engine._slots, "advance", lambda finished, most: 1 / 0)
  engine.start()
  assert isinstance(whole(ask(engine, "ocr", max_new_tokens=3)[1])[-1].error, ZeroDivisionError)
  monkeypatch.setattr(engine._slots, "advance", real)
  assert whole(ask(engine, "ocr", max_new_tokens=3)[1])[-1].generation
  engine.close()


@pytest.mark.parametrize("prompt, images, config, names", [
    ("ocr", 2, {}, "at most 1 images here, not 2"), ("ocr " * 40, 0, {}, "at most 32"),
    ("ocr", 0, dict(max_new_tokens=17), "1 to 16 tokens"),
    ("ocr", 0, dict(sampler="beam(2)"), "share a batch"),
    ("ocr", 0, dict(num_samples=2, sampler="temperature(1.)"), "num_samples: not for requests"),
    ("ocr", 0, dict(answer_start="1"), "answer_start: not for"),
    ("ocr", 0, dict(cache_dtype="int8"), "cache_dtype: not for"),
    ("ocr", 0, dict(stop=()), "end at 'eos'"), ("ocr", 0, dict(stop=("eos", 108)), "end at 'eos'")])
def test_requests_that_do_not_fit(engine, image, prompt, images, config, names):
  with pytest.raises(ValueError, match=names):
    engine.job(prompt, [image] * images, GenerationConfig(**{"max_new_tokens": 8, **config}), print)


def test_an_engine_that_cannot_go_on_tells_those_that_wait(vlm, monkeypatch):
  engine = Engine(vlm, SIZES)
  fails = lambda *args, **kw: 1 / 0
  monkeypatch.setattr(engine._slots, "advance", fails)
  monkeypatch.setattr(engine._slots, "reset", fails)
  asked = [ask_later(engine, "ocr", max_new_tokens=3) for _ in range(SIZES.slots + 1)]
  engine._waiting.extend(job for job, _ in asked)
  engine.start()
  assert all(isinstance(whole(shown)[-1].error, ZeroDivisionError) for _, shown in asked)
  with pytest.raises(engines.Closed):
    ask(engine, "ocr", max_new_tokens=3)


def test_the_smallest_sizes(vlm):
  engine = Engine(vlm, Sizes(slots=1, prompt_tokens=3, new_tokens=1))
  engine.warm_up()
  with pytest.raises(ValueError, match="1 to 1 tokens here, not 2"):
    engine.job([2], [], GenerationConfig(max_new_tokens=2), print)


def test_sizes_beyond_the_model(vlm):
  with pytest.raises(ValueError, match="max_prompt_tokens, max_tokens or max_images"):
    Engine(vlm, Sizes(new_tokens=8192))
