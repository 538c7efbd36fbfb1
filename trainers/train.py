"""Trains a config: python -m trainers.train --config configs/digits.py --workdir W

A workdir that holds a checkpoint is resumed: the same command continues the same run, bit for bit,
killed anywhere, on any number of devices and processes that divides the batch. With a config or
data that would make it another run it is refused (big_vlm/training/same_run.py). SIGTERM or SIGINT
saves and ends it after the step under way (big_vlm/stopping.py).
"""
import contextlib
import json
import os
import sys

import jax
from etils import epath

from big_vlm import (
  cli,
  compilation,
  distributed,
  files,
  metric_writer,
  plot,
  profiling,
  reporting,
  sharding,
  stopping,
  trackers,
  workdir_lock,
)
from big_vlm.checkpoints import native
from big_vlm.checkpoints.steps import Checkpoints
from big_vlm.data import counters, loader, mixture, packing
from big_vlm.formats import bv
from big_vlm.planning import memory
from big_vlm.training import best as best_lib
from big_vlm.training import defaults, loop, nan_guard, optim, policy, resume_bv, same_run, setup
from big_vlm.training import step as steps
from evaluators import common, metric_names


def train(config, workdir, profile_steps=None, resume_changed=False, answers_of=None):
  """Runs the config to its end; returns the last row of training metrics.

  resume_changed: resumes also where the config or the data make it another run. answers_of: of a
  config that tunes, (config, TrainSetup) -> Answers (trainers/answers.py).
  """
  distributed.assert_same(config.to_json_best_effort(), "configs")
  wanted, tracked = best_lib.Settings.of(config), config.get("trackers") or ()
  trackers.check(tracked)
  stream = mixture.from_config(config)
  s = setup.make(config)
  distributed.broadcast_from_primary(lambda: make_workdir(workdir))
  print(optim.table(s.shapes.params, s.optimizer))
  if chosen := defaults.table(config):
    print(chosen)
  total, size, row = s.horizon.total, config.input.batch_size, {}
  layout, answers = packing.of_config(config), answers_of and answers_of(config, s)
  read = counters.Counters(stream, size, config.input.on_error)
  log, save, keep = (s.horizon.steps(name, config, default) for name, default in
                     (("log", 50), ("checkpoint", 1000), ("keep_period", 0)))
  evaluators = common.evaluators(config, s.model, config.tokenizer, s.mesh, s.horizon)
  common.check_first(evaluators)
  if wanted.metric:
    metric_names.check(wanted.metric, evaluators)
  guard = nan_guard.NaNGuard(s, config.seed, config.loss.to_dict())
  prints = distributed.broadcast_from_primary(lambda: same_run.fingerprints(config, stream))
  check = lambda step: distributed.broadcast_from_primary(
      lambda: same_run.check(workdir, config, prints, step, resume_changed))
  with (workdir_lock.lock(workdir), jax.set_mesh(s.mesh),
        stopping.PreemptionHandler() as preemption,
        Checkpoints(workdir, config.max_to_keep, keep) as checkpoints):
    state = start_or_resume(config, s, checkpoints, check)
    first, stopping_now = int(state.step), False
    distributed.broadcast_from_primary(lambda: describe(workdir, config, s, prints, first))
    trace = profiling.Trace(workdir, first, profile_steps)
    batches = loader.train_batches(
        stream, size, step=first, rows=sharding.local_batch_rows(s.mesh, layout.rows),
        workers=config.input.workers, threads=config.input.threads,
        memory_gb=config.input.memory_gb, reader=layout.reader)
    progress = reporting.Progress(first, total, size, answers.shows if answers else "loss")
    if answers:
      s, layout = answers.prepare(
          workdir, first, lambda: parameters(config, s) if first else state.params)

    @contextlib.contextmanager
    def around(step, batch):
      with trace.step(step) as results, explained(s, batch, config.grad_accum_steps):
        yield results

    def store(step, state):
      guard.flush(state)
      writer.sync()
      best.settle()
      checkpoints.save(step, as_items(state, s.optimizer))

    def evaluate(step, state, evaluators):
      """Runs those that are due; all, where the training ends here since nothing gets better."""
      left, due = list(evaluators), lambda e: best.exhausted or loop.due(step, e.steps, total)
      while evaluator := next(filter(due, left), None):
        left.remove(evaluator)
        with progress.paused():
          params = steps.ema_params(state, s.optimizer)
          writer.write(step, row := evaluator.run(params, workdir, step))
          best.saw(step, row, params)

    sinks = trackers.start(tracked, workdir, json.loads(config.to_json_best_effort()))
    with (metric_writer.MetricWriter(workdir, first, sinks) as writer, contextlib.closing(batches),
          best_lib.Best(workdir, wanted, checkpoints, first) as best):
      if first:  # evaluations that a kill after the save has cut off
        best.resume(first, steps.ema_params(state, s.optimizer))
        evaluate(first, state, [e for e in evaluators if not writer.has(e.name + "/")])
      for evaluator in evaluators if not first else ():
        if evaluator.at_start and not writer.has(evaluator.name + "/"):
          with progress.paused():
            writer.write(0, evaluator.run(steps.ema_params(state, s.optimizer), workdir, 0))
      total = first if best.exhausted else total
      finished = loop.run(s, state, batches, progress, guard, first=first, total=total,
                          layout=layout, around=around, answers=answers)
      del state  # the first step donates it
      for step, state, metrics, host, compiled in finished:
        read.note(host)
        checkpoints.check()
        stopping_now = preemption.should_stop(step) and step < total
        if compiled is not None:
          print(f"step compiled in {compiled:.0f} s ({compilation.cache_stats()})")
        if step == 1 or loop.due(step, log, total):
          row = jax.device_get(metrics)
          writer.write(step, row | progress.line(step, row[progress.shows]) | read.row(step))
          if answers:
            answers.write(workdir, step)
        saves = loop.due(step, save, total) or stopping_now
        if saves:
          store(step, state)
        if stopping_now:
          break
        evaluate(step, state, evaluators)
        if best.exhausted:
          if not saves:
            store(step, state)
          total = step
          break
      if not stopping_now:
        print("".join(f"{line}\n" for line in best.finish(total < s.horizon.total)), end="")
  if stopping_now:
    print(f"stopped after step {step}, saved in {checkpoints.folder(step)}: the same command "
          "resumes from it", flush=True)
    sys.exit(preemption.status)
  if distributed.is_primary_process():
    print(f"trained to step {total}: {checkpoints.folder(total)}, plot {plot.plot(workdir)}")
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


def make_workdir(workdir):
  """Creates the folder; raises OSError where it cannot be written."""
  try:
    files.check_writable(workdir)
  except OSError as e:
    raise OSError(f"Cannot write into the workdir {workdir}: {e.strerror or e}. Give another "
                  "--workdir, or fix its permissions or disk.") from e


def describe(workdir, config, s, prints, step):
  """Writes config.json, model.json and the tokenizer, once an existing run has proved to be of this
  config."""
  same_run.write(workdir, config, prints, step)
  for folder in (workdir, *([epath.Path(workdir) / best_lib.NAME] * bool(
      best_lib.Settings.of(config).metric))):
    native.write_model(folder, setup.model_args(config, s.mesh), config.tokenizer or None,
                       setup.lora_scale(config), config.text_len)


def start_or_resume(config, s, checkpoints, check=lambda step: None):
  """The newest checkpoint's state, or a fresh one from the seed and config.init.

  check: called with the step of the newest checkpoint before that is read.
  """
  like, total = as_items(native.with_sharding(s.shapes, s.shardings), s.optimizer), s.horizon.total
  if (newest := checkpoints.newest()) is not None:
    check(newest)
    if newest > total:
      raise ValueError(f"{checkpoints.folder(newest)} is beyond the {total} steps of the config: "
                       "give more, or remove that folder to resume from the step before it.")
    print(f"resuming from step {newest}" if newest < total else
          f"step {newest} of {total} is there: the training is finished, nothing is left to do")
    return from_items(checkpoints.restore(newest, like), s.optimizer)
  return begin(config, s)


def begin(config, s):
  """The state of a run that begins: fresh, from the seed and config.init, or that of
  config.resume."""
  if not config.resume:
    return setup.start(config, s)
  # Once for all processes: a training that still runs moves its -LAST on.
  path = distributed.broadcast_from_primary(
      lambda: os.path.expanduser(bv.located(config.resume)))
  if bv.is_folder(path):
    return resume_bv.start(config, s, path)
  like = as_items(native.with_sharding(s.shapes, s.shardings), s.optimizer)
  with Checkpoints(path) as other:
    newest = other.newest(aside=False)
    if newest is None:
      raise FileNotFoundError(f"config.resume={config.resume} holds no finished checkpoint.")
    print(f"resuming from step {newest} of {config.resume}")
    return from_items(other.restore(newest, like), s.optimizer)


def parameters(config, s):
  """The parameters of begin(), where it can be without the rest of its state."""
  return begin(config, s).params if config.resume else setup.parameters(config, s)


def as_items(state, optimizer):
  """The parts of a TrainState that a checkpoint holds side by side.

  "params" are those to evaluate and export: the moving average where there is one. The parameters
  from which training resumes are then in "train".
  """
  train = {"step": state.step, "opt_state": state.opt_state}
  if state.ema is not None:
    train["trained"] = optim.partition(state.params, optimizer.trainable)[0]
  return {"params": steps.ema_params(state, optimizer), "train": train}


def from_items(items, optimizer):
  """The TrainState of what as_items() returned."""
  params, train = items["params"], items["train"]
  if "trained" not in train:
    return steps.TrainState(train["step"], params, train["opt_state"])
  ema, frozen = optim.partition(params, optimizer.trainable)
  return steps.TrainState(train["step"], optim.combine(params, train["trained"], frozen),
                          train["opt_state"], ema)


def parser(doc):
  """Of this command and of trainers.tune."""
  parser = cli.Parser(doc, config=True, distributed=True)
  parser.add_argument("--workdir", required=True, help="where checkpoints, metrics and plots go")
  parser.add_argument("--profile_steps", type=int,
                      help="trace so many steps with the profiler, from the third on")
  parser.add_argument("--resume_changed", action="store_true",
                      help="resume a workdir whose config or data were others")
  return parser


def main(argv=None):
  args = parser(__doc__).parse_args(argv)
  policy.refuse(args.config, "python -m trainers.train")
  compilation.cache()
  cli.start(args)
  train(args.config, args.workdir, args.profile_steps, args.resume_changed)


if __name__ == "__main__":
  cli.run(main)
