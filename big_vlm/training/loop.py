"""The training loop that trainers.train and vlm.fit share."""
import contextlib
import time
from typing import Any, NamedTuple

import jax

from big_vlm import compilation, sharding
from big_vlm.batch import check_batch
from big_vlm.data import loader, packing
from big_vlm.planning import devices, flops
from big_vlm.training import optim


class Finished(NamedTuple):
  """A step that was taken; the device may still compute its arrays."""
  step: int
  state: Any  # TrainState after the step
  metrics: dict  # scalars on the devices
  host: dict  # the keys of the batch that stay on the host
  compiled: float | None  # seconds that compilation took, of the first step of a shape; else None


def run(setup, state, batches, progress, guard, *, first, total, layout, answers=None,
        around=lambda step, batch: contextlib.nullcontext(lambda results: results)):
  """Yields a Finished after each of the steps first + 1 to total.

  The first batch is checked, and the step is compiled for it, before anything is donated; for a
  batch of another shape it is compiled when that comes.

  Args:
    setup: a setup.TrainSetup.
    state: the TrainState at step `first`; setup.step donates it.
    batches: iterator over this process's rows of batches (loader.train_batches).
    progress: a reporting.Progress. guard: a nan_guard.NaNGuard, which raises ValueError within some
      steps after a loss that is not finite; the consumer flushes it before it saves a state.
    layout: the packing.Layout of the batches.
    answers: function (step, state, batch, host) -> (batch, host, {metric}) that makes the rows of a
      step from a batch of prompts and the state before it; None: batches are rows.
    around: (step, batch) -> context manager around the step, which gives a function that hands the
      step's results on.
  """
  work = {}  # of a step, by the shape of its batch: each is a program of its own
  for step in range(first + 1, total + 1):
    (batch, host), more = loader.split_batch(progress.wait(batches)), {}
    if answers:
      batch, host, more = answers(step, state, batch, host)
    batch = layout.cut(batch)
    if step == first + 1:
      model = setup.model.config
      check_batch(batch, train=True, vocab_size=(model.llm or model.txt).vocab_size,
                  pairs=model.llm is None)
      if "mask_loss" in batch and not batch["mask_loss"].any():
        raise ValueError("No token of the first batch is an answer's: text_len cuts all of them, "
                         "or the lines have none. tools.inspect_batch shows the batch.")
    shape = tuple(sorted((key, x.shape) for key, x in batch.items()))
    new = shape not in work
    if new:
      work[shape] = _work(setup, batch, layout)
      if answers:  # whose making is in the time, and not in the FLOPs: no MFU
        work[shape]["peak"] = None
    progress.work(*layout.tokens(batch), **work[shape])
    batch, compiled = sharding.make_global_array(setup.mesh, batch, layout.rows), None
    with around(step, batch) as results:
      if new:
        began = time.perf_counter()
        with progress.paused():
          compilation.compile_ahead(setup.step, state, batch)
        compiled = time.perf_counter() - began
      state, metrics = results(setup.step(state, batch))
    guard.watch(step, state, metrics, batch, host["_id"])
    yield Finished(step, state, metrics | more, host, compiled)
  guard.flush(state)


def due(step, every, total):
  """Every `every` steps and at the last; 0: at the last only."""
  return step == total or bool(every) and step % every == 0


def _work(setup, batch, layout):
  """Arguments of Progress.work: FLOPs of a step, FLOP/s of all devices if known."""
  each = layout.row_examples
  length, images = (batch["text"].shape[1] - 1) / each, packing.image_slots(batch) / each
  device = devices.of_kind(jax.devices()[0].device_kind)
  example = flops.per_example(setup.model.config, length, images, layout.batch_size,
                              optim.weight_flops(setup.optimizer))
  return dict(flops=layout.batch_size * example, peak=device and device.flops * setup.mesh.size)
