"""Trains a config: python -m trainers.train --config configs/quickstart.py --workdir W

A workdir that holds a checkpoint is resumed: the same command continues the same run, bit for bit,
killed anywhere, on any device count that divides the batch.
"""
import pathlib

import jax

from big_vlm import reporting, sharding
from big_vlm.batch import check_batch
from big_vlm.checkpoints import load, native
from big_vlm.data import loader, mixture
from big_vlm.models import paligemma
from big_vlm.training import optim
from big_vlm.training import step as steps
from evaluators import common


def train(config, workdir):
  """Runs the config to its end; returns the last row of training metrics."""
  stream = mixture.stream(config.input.mixture, config.seed)
  make_workdir(workdir, config)
  model = paligemma.PaliGemma(paligemma.config(**config.model.to_dict()))
  mesh = sharding.make_mesh(config.mesh.to_dict())
  optimizer, shardings, shapes = plan_state(config, model, mesh)
  train_step = jax.jit(steps.make_train_step(model, optimizer, config.seed),
                       donate_argnums=0, out_shardings=(shardings, None))
  evaluators = [common.Evaluator(name, model, config.tokenizer, mesh, **kw)
                for name, kw in config.evals.to_dict().items()]
  with native.Checkpoints(workdir, config.keep_checkpoints) as checkpoints:
    state = start_or_resume(config, model, optimizer, checkpoints, shapes, shardings)
    first, total, row = int(state.step), config.total_steps, {}
    batches = loader.train_batches(
        stream, config.input.batch_size, step=first, process=jax.process_index(),
        processes=jax.process_count(), workers=config.input.workers, threads=config.input.threads)
    progress = reporting.Progress(first, total, config.input.batch_size)
    with reporting.MetricWriter(workdir, first) as writer:
      for step in range(first + 1, total + 1):
        batch, _ = loader.split_batch(progress.wait(batches))
        if step == first + 1:
          check_batch(batch, train=True, vocab_size=config.model.llm.vocab_size)
        state, metrics = train_step(state, sharding.put_batch(mesh, batch))
        if step == 1 or due(step, config.log_steps, total):
          row = jax.device_get(metrics)
          writer.write(step, row | progress.line(step, row["loss"]))
        if due(step, config.checkpoint_steps, total):
          checkpoints.save(step, as_items(state))
        for evaluator in evaluators:
          if due(step, evaluator.steps, total):
            with progress.paused():
              writer.write(step, evaluator.run(state.params, workdir, step))
  print(f"trained to step {total}: {checkpoints.folder(total)}, plot {reporting.plot(workdir)}")
  return row


def due(step, every, total):
  """Every `every` steps and at the last; 0: at the last only."""
  return step == total or bool(every) and step % every == 0


def make_workdir(workdir, config):
  """Creates the folder with config.json, model.json and the tokenizer in it."""
  folder, text = pathlib.Path(workdir), config.to_json_best_effort(indent=2)
  try:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(text + "\n")
  except OSError as e:
    raise OSError(f"Cannot write into the workdir {workdir}: {e.strerror}. Give another --workdir, "
                  "or mend its permissions or disk.") from e
  native.write_model(workdir, config.model.to_dict(), config.tokenizer)


def plan_state(config, model, mesh):
  """(optimizer, shardings and shapes of the TrainState)."""
  params = jax.eval_shape(lambda: paligemma.init_params(model, jax.random.key(0)))
  optimizer = optim.make(params, total_steps=config.total_steps, **config.optimizer.to_dict())
  shapes = jax.eval_shape(lambda p: steps.start(p, optimizer), params)
  return optimizer, sharding.tree_sharding(mesh, shapes, config.sharding), shapes


def start_or_resume(config, model, optimizer, checkpoints, shapes, shardings):
  """The newest checkpoint's state, or a fresh one from the seed and config.init."""
  latest = checkpoints.latest()
  if latest is not None:
    print(f"resuming from step {latest}")
    like = as_items(native.with_sharding(shapes, shardings))
    restored = checkpoints.restore(latest, like)
    return steps.TrainState(params=restored["params"], **restored["train"])
  fresh = lambda rng: steps.start(paligemma.init_params(model, rng), optimizer)
  state = jax.jit(fresh, out_shardings=shardings)(jax.random.key(config.seed))
  return state.replace(params=load.start_from(config.init.to_dict(), state.params, model.config))


def as_items(state):
  """The parts of a TrainState that a checkpoint holds side by side."""
  return {"params": state.params, "train": {"step": state.step, "opt_state": state.opt_state}}


if __name__ == "__main__":
  reporting.launch(train, config="Config file, path.py or path.py:arg.",
                   workdir="Where checkpoints, metrics and plots go.")
