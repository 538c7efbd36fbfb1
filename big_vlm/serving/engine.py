"""The engine of a server: a thread that decodes, and a queue before it. It knows nothing of HTTP.

  engine = Engine(vlm, Sizes())
  engine.start()
  job = engine.job("caption en", [png_bytes], GenerationConfig(max_new_tokens=32), show=print)
  engine.submit(job)      # print(Update(...)) as tokens come; the last one has the Generation
  engine.cancel(job)      # frees its slot; nothing more is shown
  engine.close()          # answers what was submitted, then ends the thread
"""
import collections
import dataclasses
import logging
import threading
import time
from collections.abc import Callable

import numpy as np

from big_vlm import inputs, prompt_input
from big_vlm.decode import answers, image_features, slots
from big_vlm.decode.answers import Generation
from big_vlm.decode.session import Batch, GenerationConfig, GenerationSession
from pp import text_layout

_log = logging.getLogger(__name__)


# What requests of one batch may differ in; the answers' other options are the defaults.
PER_REQUEST = ("max_new_tokens", "sampler", "stop", "seed", "grammar")
LEAST = 16  # tokens of a prompt and of an answer that a slot has, as inputs.py lays them out


class Full(Exception):
  """The queue holds as many requests as it may."""


class Closed(Exception):
  """The engine takes no more requests."""


@dataclasses.dataclass(frozen=True)
class Sizes:
  """What requests may have. For tokens the next power of two, LEAST or more, is allocated."""
  slots: int = 16  # answers that are decoded side by side
  prompt_tokens: int = 128  # of text, bos and separator included
  images: int = 1  # of a prompt
  new_tokens: int = 256  # of an answer
  queue: int = 256  # requests that wait for a slot
  round_seconds: float = .02  # between two looks at the answers: a small model writes some tokens


@dataclasses.dataclass(frozen=True)
class Update:
  """What is new of an answer."""
  text: str = ""  # a piece
  tokens: tuple = ()
  logprobs: tuple = ()
  generation: Generation | None = None  # the whole answer, at its end
  error: Exception | None = None  # instead of an answer


@dataclasses.dataclass(eq=False)
class Job:
  """A request on its way."""
  prompt_tokens: int  # images included
  batch: Batch
  session: GenerationSession
  show: Callable  # called with each Update, from the engine's thread
  every: bool  # whether each token is shown, or the whole answer at its end
  shown: int = 0  # characters
  told: int = 0  # tokens
  cancelled: bool = False


class Engine:
  """See the top of this file. `stats`: counts so far, by name."""

  def __init__(self, vlm, sizes=Sizes()):
    """Raises ValueError for sizes that the model does not have."""
    self._vlm, self.sizes, limits = vlm, sizes, inputs.model_limits(vlm.config)
    images = sizes.images if limits.image_size else 0
    image_tokens = (inputs.bucket(images) if images else 0) * limits.image_tokens
    self._prompt, self._new = (
        inputs.bucket(max(n, LEAST)) for n in (sizes.prompt_tokens, sizes.new_tokens))
    if image_tokens + self._prompt + self._new > limits.tokens:
      raise ValueError(
          f"{images} images of {limits.image_tokens} tokens, {self._prompt} tokens of text and "
          f"{self._new} of an answer are more than the {limits.tokens} of this model: lower "
          "max_prompt_tokens, max_tokens or max_images.")
    self._images, self._image_tokens = images, limits.image_tokens
    plain = GenerationSession(vlm.model, vlm.params, vlm.tokenizer, GenerationConfig())
    self._eos = plain.stops.all_ids
    self._slots = slots.Slots(vlm.model, vlm.params, vlm.mesh, slots=sizes.slots, stops=self._eos,
                              prompt=image_tokens + self._prompt, new=self._new)
    self._running = [None] * self._slots.count  # Job of each slot
    self._waiting, self._wake = collections.deque(), threading.Condition()
    self._closing, self._step_seconds = False, sizes.round_seconds or 1.
    self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
    self.stats = collections.Counter()

  def start(self):
    self._thread.start()

  def close(self):
    """Waits until all that was submitted is answered; a later submit() raises Closed."""
    with self._wake:
      self._closing = True
      self._wake.notify()
    self._thread.join()

  @property
  def slots(self):
    """How many there are: sizes.slots or, on several devices, a multiple of their number."""
    return self._slots.count

  @property
  def new_tokens(self):
    """The most tokens of an answer."""
    return self.sizes.new_tokens

  @property
  def waiting(self):
    """Requests that wait for a slot."""
    return len(self._waiting)

  @property
  def running(self):
    """Requests that have a slot."""
    return sum(job is not None for job in self._running)

  @property
  def alive(self):
    return self._thread.is_alive()

  def job(self, prompt, images, config, show, every=True):
    """The Job of vlm.generate(prompt, [images], **config): its pixels and ids, made in the thread
    that calls.

    show: called with Updates, one for each token, or with every=False one at the end. Raises
    ValueError for a request that does not fit the model or the sizes.
    """
    if not 1 <= config.max_new_tokens <= self.sizes.new_tokens:
      raise ValueError(f"An answer has 1 to {self.sizes.new_tokens} tokens here, not "
                       f"{config.max_new_tokens}.")
    plain = GenerationConfig()
    if other := [f.name for f in dataclasses.fields(config) if f.name not in PER_REQUEST
                 and getattr(config, f.name) != getattr(plain, f.name)]:
      raise ValueError(f"{', '.join(other)}: not for requests that share a batch, which have "
                       f"{', '.join(PER_REQUEST)}.")
    vlm, tokens = self._vlm, self.prompt_tokens(prompt, images)
    session = GenerationSession(vlm.model, vlm.params, vlm.tokenizer, config)
    if list(session.stops.all_ids) != list(self._eos):
      raise ValueError(f"stop={config.stop!r}: requests that share a batch end at 'eos', and where "
                       "texts beside it say so.")
    slots.row_numbers(session.search)
    if config.grammar and not session.automaton:
      raise ValueError(f"The grammar {config.grammar!r:.60} is not for requests that share a "
                       "batch: a JSON schema or a regex is.")
    batch, = session.host_batches([prompt], [list(images)], room=self._new)
    return Job(tokens, batch, session, show, every)

  def prompt_tokens(self, prompt, images):
    """Tokens of a prompt, str or ids, and its images; ValueError where the sizes are smaller."""
    if len(images) > self._images:
      raise ValueError(f"A prompt has at most {self._images} images here, not {len(images)}.")
    vlm = self._vlm
    count = len(prompt_input.ids(prompt, vlm.tokenizer, len(images), bool(vlm.image_size)))
    if count > self.sizes.prompt_tokens:
      raise ValueError(f"The prompt has {count} tokens, and at most {self.sizes.prompt_tokens} are "
                       "taken.")
    return count + len(images) * self._image_tokens

  def submit(self, job):
    """Raises Full or Closed."""
    with self._wake:
      if self._closing or not self.alive:
        raise Closed
      if len(self._waiting) >= self.sizes.queue:
        raise Full
      self._waiting.append(job)
      self._wake.notify()

  def cancel(self, job):
    """Whether it waits, runs or has ended; a slot is free before the next token."""
    job.cancelled = True
    with self._wake:
      if job in self._waiting:
        self._waiting.remove(job)

  def warm_up(self, note=lambda done, total: None):
    """Compiles all programs, before start(): of one prompt and of slots.GROUP, of each size and
    number of images, and the step. note: told how many are done."""
    pad = text_layout.PAD if self._vlm.tokenizer is None else self._vlm.tokenizer.pad_token
    size = self._vlm.image_size
    lengths = [n for n in (16 << i for i in range(32)) if n < 2 * max(self._prompt, 16)]
    counts = sorted({0, *(inputs.bucket(n) for n in range(1, self._images + 1))})
    groups = [n for n in (1, slots.GROUP) if n <= self.slots]
    config = GenerationConfig(max_new_tokens=min(2, self.sizes.new_tokens))
    all_ = [(min(n, self.sizes.prompt_tokens), count, group) for n in lengths for count in counts
            for group in groups]
    for done, (length, count, group) in enumerate(all_, 1):
      jobs = []
      for i in range(group):  # whose images are new: these programs too
        images = [np.full((size, size, 3), (done, i, j), np.uint8)
                  for j in range(min(count, self._images))]
        jobs.append(self.job([pad + 1] * length, images, config, print))
      self._slots.admit([_entry(slot, job) for slot, job in enumerate(jobs)])
      self._slots.advance(np.arange(self._slots.count) > 0)
      note(done, len(all_))
    self._slots.advance(np.ones(self._slots.count, bool), masked=True)
    self._slots.reset()

  def _run(self):
    while self._wait():
      try:
        self._admit()
        self._advance()
        self._deliver()
      except Exception as error:  # of the device: what the slots hold is lost
        _log.exception("the answers that were decoded are lost")
        self._lose(error)
        try:
          self._slots.reset()
        except Exception as error:  # there is no memory even for empty ones
          _log.exception("the engine ends")
          with self._wake:
            self._closing = True
            waiting, self._waiting = list(self._waiting), collections.deque()
          for job in waiting:
            job.show(Update(error=error))
          return

  def _lose(self, error):
    for slot in range(len(self._running)):
      self._finish(slot, Update(error=error))

  def _wait(self):
    """Whether there is something to do; waits for it. False: closed."""
    with self._wake:
      while not self._waiting and not self.running:
        if self._closing:
          return False
        self._wake.wait()
    return True

  def _next(self, most):
    """The request that waits longest, or slots.GROUP that are read together with it, or none."""
    with self._wake:
      if not self._waiting or not most:
        return []
      shape = _entry(0, self._waiting[0]).shape
      alike = [job for job in self._waiting if _entry(0, job).shape == shape][:most]
      found = next(image_features.in_groups(alike, slots.GROUP))
      for job in found:
        self._waiting.remove(job)
      return found

  def _admit(self):
    """Puts requests into free slots: those that run wait for one prefill, not for many."""
    for slot, job in enumerate(self._running):
      if job and job.cancelled:
        self._running[slot] = None
        self.stats["cancelled"] += 1
    free = [slot for slot, job in enumerate(self._running) if job is None]
    if not (jobs := self._next(len(free))):
      return
    for slot, job in zip(free, jobs):
      self._running[slot] = job
    self._slots.admit([_entry(slot, job) for slot, job in zip(free, jobs)])
    for job in jobs:
      job.batch = None  # its pixels
      self.stats["prompt_tokens"] += job.prompt_tokens
    self.stats["prefills"] += len(jobs)
    self.stats["images"] = self._slots.images_encoded

  def _advance(self):
    """Writes as many tokens of each answer as take the time of a round, at least one."""
    finished = np.array([job is None for job in self._running])
    self._slots.wait()
    began = time.perf_counter()
    steps = self._slots.advance(finished, most=max(
        int(self.sizes.round_seconds / self._step_seconds), 1))
    self.stats["steps"] += steps
    if steps:
      self._step_seconds = (time.perf_counter() - began) / steps

  def _deliver(self):
    """Shows what is new of each answer."""
    state = self._slots.fetch()
    for slot, job in enumerate(self._running):
      finished, n = state.finished[slot], state.length[slot]
      if job is None or not (finished or job.every or job.session.stops.texts):
        continue
      try:
        found = answers.generation(state.tokens[slot, :n], state.logprobs[slot, :n],
                                   job.session.stops, self._vlm.tokenizer)
      except ValueError as error:  # NaN
        self._finish(slot, Update(error=error))
        continue
      finished |= found.finish_reason == "stop"
      text = found.text if finished else answers.stable_prefix(found.text, job.session.stops)
      update = Update(text[job.shown:], tuple(found.tokens[job.told:]),
                      tuple(found.logprobs[job.told:]), found if finished else None)
      job.shown, job.told = max(job.shown, len(text)), len(found.tokens)
      if finished:
        self.stats["tokens"] += len(found.tokens)
        self._finish(slot, update)
      elif job.every:
        job.show(update)

  def _finish(self, slot, update):
    job, self._running[slot] = self._running[slot], None
    if job and not job.cancelled:
      job.show(update)


def _entry(slot, job):
  return slots.Entry(slot, job.batch, job.session.search, job.session.automaton)
