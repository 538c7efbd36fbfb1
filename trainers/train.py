"""Trains a config: python -m trainers.train --config configs/quickstart.py --workdir W

A workdir that holds a checkpoint is resumed: the same command continues the same run, bit for bit,
killed anywhere, on any number of devices and processes that divides the batch. SIGTERM or SIGINT
saves and ends it after the step under way (big_vlm/stopping.py).
"""
import contextlib
import pathlib
import sys
import time

import jax

from big_vlm import compilation, distributed, reporting, sharding, stopping
from big_vlm.batch import check_batch
from big_vlm.checkpoints import native
from big_vlm.checkpoints.steps import Checkpoints
from big_vlm.data import counters, loader, mixture
from big_vlm.planning import devices, flops, memory
from big_vlm.training import nan_guard, optim, setup
from big_vlm.training import step as steps
from evaluators import common


def train(config, workdir, profile=None):
  """Runs the config to its end; returns the last row of training metrics."""
  distributed.assert_same(config.to_json_best_effort(), "configs")
  stream = mixture.Mixture(config.input.mixture, config.seed, config.input.on_error)
  s = setup.make(config)
  distributed.broadcast_from_primary(lambda: make_workdir(workdir))
  print(optim.table(s.shapes.params, s.optimizer))
  total, size, row = s.horizon.total, config.input.batch_size, {}
  read = counters.Counters(stream, size, config.input.on_error)
  log, save, keep = (s.horizon.steps(name, config, default) for name, default in
                     (("log", 50), ("checkpoint", 1000), ("keep_every", 0)))
  evaluators = common.evaluators(config, s.model, config.tokenizer, s.mesh, s.horizon)
  guard = nan_guard.NaNGuard(s, config.seed, config.loss.to_dict())
  with (jax.set_mesh(s.mesh), stopping.Stop() as stop,
        Checkpoints(workdir, config.keep_checkpoints, keep) as checkpoints):
    state = start_or_resume(config, s, checkpoints)
    distributed.broadcast_from_primary(lambda: describe(workdir, config, s))
    first, stopping_now = int(state.step), False
    trace = reporting.Trace(workdir, first, profile)
    batches = loader.train_batches(
        stream, size, step=first, rows=sharding.local_batch_rows(s.mesh, size),
        workers=config.input.workers, threads=config.input.threads,
        memory_gb=config.input.memory_gb)
    progress = reporting.Progress(first, total, size)
    with reporting.MetricWriter(workdir, first) as writer, contextlib.closing(batches):
      def evaluate(step, evaluators):
        for evaluator in evaluators:
          if due(step, evaluator.steps, total):
            with progress.paused():
              params = steps.ema_params(state, s.optimizer)
              writer.write(step, evaluator.run(params, workdir, step))
      if first:  # what a kill after the save has cut off
        evaluate(first, [e for e in evaluators if not writer.has(e.name + "/")])
      for step in range(first + 1, total + 1):
        batch, host = loader.split_batch(progress.wait(batches))
        read.note(host)
        if step == first + 1:
          check_batch(batch, train=True, vocab_size=s.model.config.llm.vocab_size)
          progress.work(**work(s, batch))
          began = time.perf_counter()
        batch = sharding.make_global_array(s.mesh, batch, size)
        with trace.step(step) as done, explained(s, batch, config.grad_accum_steps):
          if step == first + 1:
            compilation.compile_ahead(s.step, state, batch)
          state, metrics = done(s.step(state, batch))
        guard.watch(step, state, metrics, batch, host["_id"])
        checkpoints.check()
        stopping_now = stop.reached(step) and step < total
        if step == first + 1:
          print(f"step compiled in {time.perf_counter() - began:.0f} s ({compilation.cache_stats()})")
        if step == 1 or due(step, log, total):
          row = jax.device_get(metrics)
          writer.write(step, row | progress.line(step, row["loss"]) | read.row(step))
        if due(step, save, total) or stopping_now:
          guard.flush(state)
          checkpoints.save(step, as_items(state, s.optimizer))
        if stopping_now:
          break
        evaluate(step, evaluators)
  if stopping_now:
    print(f"stopped after step {step}, saved in {checkpoints.folder(step)}: the same command goes "
          "on from it", flush=True)
    sys.exit(stop.status)
  if distributed.is_primary_process():
    print(f"trained to step {total}: {checkpoints.folder(total)}, plot {reporting.plot(workdir)}")
  return row


@contextlib.contextmanager
def explained(s, batch, grad_accum_steps):
  """Answers a lack of memory with the table of what a step holds."""
  try:
    yield
  except jax.errors.JaxRuntimeError as e:
    if text := memory.explain(e, s, batch, grad_accum_steps):
      raise ValueError(text) from e
    raise


def due(step, every, total):
  """Every `every` steps and at the last; 0: at the last only."""
  return step == total or bool(every) and step % every == 0


def work(s, batch):
  """What Progress counts: tokens and FLOPs of an example, FLOP/s of all devices if known."""
  image, config = batch.get("image"), s.model.config
  images = 0 if image is None else 1 if image.ndim == 4 else image.shape[1]
  length = batch["text"].shape[1] - 1
  device = devices.of_kind(jax.devices()[0].device_kind)
  return dict(tokens=flops.tokens(config, length, images),
              flops=flops.per_example(config, length, images),
              peak=device and device.flops * s.mesh.size)


def make_workdir(workdir):
  """Creates the folder; raises OSError where it cannot be written."""
  folder = pathlib.Path(workdir)
  try:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").open("a").close()
  except OSError as e:
    raise OSError(f"Cannot write into the workdir {workdir}: {e.strerror}. Give another --workdir, "
                  "or mend its permissions or disk.") from e


def describe(workdir, config, s):
  """Writes config.json, model.json and the tokenizer: not before a run that is there has turned
  out to be of this config."""
  text = config.to_json_best_effort(indent=2)
  (pathlib.Path(workdir) / "config.json").write_text(text + "\n")
  native.write_model(workdir, setup.model_args(config, s.mesh), config.tokenizer or None,
                     setup.lora_scale(config))


def start_or_resume(config, s, checkpoints):
  """The newest checkpoint's state, or a fresh one from the seed and config.init."""
  like = as_items(native.with_sharding(s.shapes, s.shardings), s.optimizer)
  if (newest := checkpoints.newest()) is not None:
    print(f"resuming from step {newest}")
    return from_items(checkpoints.restore(newest, like), s.optimizer)
  if not config.resume:
    return setup.start(config, s)
  with Checkpoints(config.resume) as other:
    newest = other.newest(aside=False)
    if newest is None:
      raise FileNotFoundError(f"config.resume={config.resume} holds no finished checkpoint.")
    print(f"going on from step {newest} of {config.resume}")
    return from_items(other.restore(newest, like), s.optimizer)


def as_items(state, optimizer):
  """The parts of a TrainState that a checkpoint holds side by side.

  "params" are those to evaluate and hand on: where there is a moving average, it; the parameters
  that training goes on from are then in "train".
  """
  train = {"step": state.step, "opt_state": state.opt_state}
  if state.ema is not None:
    train["trained"] = optim.partition(state.params, optimizer.trainable)[0]
  return {"params": steps.ema_params(state, optimizer), "train": train}


def from_items(items, optimizer):
  """as_items() undone."""
  params, train = items["params"], items["train"]
  if "trained" not in train:
    return steps.TrainState(train["step"], params, train["opt_state"])
  ema, frozen = optim.partition(params, optimizer.trainable)
  return steps.TrainState(train["step"], optim.combine(params, train["trained"], frozen),
                          train["opt_state"], ema)


if __name__ == "__main__":
  reporting.launch(train, processes=True, config="Config file, path.py or path.py:arg.",
                   workdir="Where checkpoints, metrics and plots go.",
                   profile="Trace so many steps with the profiler, from the third on.")
