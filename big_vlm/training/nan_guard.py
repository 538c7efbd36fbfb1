"""The NaN guard: finds a non-finite loss or gradient without waiting, and reports where it began.

The step itself keeps the state when its loss or its gradient is not finite (step.py), so that the
guard can still trace the bad batch through the model afterwards.
"""
import collections
import json

import jax
import jax.numpy as jnp
import numpy as np

from big_vlm import distributed, families, sharding, trees
from big_vlm.training import objectives, optim

LAG = 2  # steps under way before the guard looks at the oldest: the device never waits
ADVICE = ("Nothing was saved since; the last checkpoint is intact. What mostly helps: a lower "
          "optimizer.lr, a longer warm-up, optimizer.clip_norm, model.dtype='float32', or leaving "
          "these examples out.")


class NaNGuard:
  """Looks at the metrics of steps once they are there; raises for the first that is not finite."""

  def __init__(self, setup, seed, loss, advice=ADVICE):
    """setup: a TrainSetup; loss: the config's, as objectives.make takes it; advice: the end of the
    error."""
    self._setup, self._seed, self._loss, self._advice = setup, seed, loss, advice
    self._pending = collections.deque()

  def watch(self, step, state, metrics, batch, ids):
    """To be called after each step with its results, its batch on the devices and the "_id"s of
    this process's rows; takes "finite" out of the metrics. Raises ValueError for an earlier step.
    """
    self._pending.append((step, metrics.pop("finite"), metrics, batch, ids))
    while len(self._pending) > LAG:
      self._look(state)

  def flush(self, state):
    """Looks at all steps that were watched, the last one too."""
    while self._pending:
      self._look(state)

  def _look(self, state):
    step, finite, metrics, batch, ids = self._pending.popleft()
    if finite:  # waits for that step
      return
    rows = sharding.local_batch_rows(self._setup.mesh, len(batch["text"])).tolist()
    mine = json.dumps(list(zip(rows, ids))).encode()
    parts = distributed.all_gather_bytes(mine)
    everyone = dict(pair for part in parts for pair in json.loads(part))
    everyone = [everyone[row] for row in sorted(everyone)]
    loss, norm, moved = (float(metrics[k]) for k in ("loss", "l2_grads", "l2_updates"))
    if np.isfinite(loss) and np.isfinite(norm):
      found = {"where": "the optimizer's update; loss and gradients are finite", "rows": []}
    else:
      found = explain(self._setup, state, batch, step, self._seed, self._loss)
    rows = [everyone[i] for i in found["rows"]]
    raise ValueError(
        f"Step {step}: the loss is {loss:.4g}, the gradient's norm {norm:.4g} and the update's "
        f"{moved:.4g}, so there is no update. First bad: {found['where']}."
        + (f" In the examples {_few(rows)}." if rows and len(rows) < len(everyone) else "")
        + f" The batch: {_few(everyone)}. {self._advice}")


def explain(setup, state, batch, step, seed, loss):
  """first_bad(), or why it cannot be found."""
  try:
    return first_bad(setup, state.params, batch, step, seed, dict(loss))
  except Exception as e:  # out of memory, for example: the error itself matters more
    return {"where": f"not found ({str(e).splitlines()[0][:200]})", "rows": []}


def first_bad(setup, params, batch, step, seed, loss):
  """{"where": the first non-finite value of a step, "rows": [row of the batch]}."""
  objective = objectives.make(setup.model, **loss)
  if bad := _bad_leaves(jax.jit(_leaf_flags)(params)):
    name = min(bad)
    return {"where": _named("parameter", name, bad[name]), "rows": []}
  rng = jax.random.fold_in(jax.random.key(seed), step - 1)
  for where, stage in objective.stages(batch, rng):
    flags = distributed.fetch(jax.jit(lambda *a, stage=stage: _row_flags(stage(*a)))(params, batch))
    if not flags.all():
      return {"where": where, "rows": np.flatnonzero(~flags).tolist()}

  trainable = optim.partition(params, setup.optimizer.trainable)[0]

  def of(trainable, params, batch):
    frozen = optim.partition(params, setup.optimizer.trainable)[1]
    return objective.loss(optim.combine(params, trainable, frozen), batch, rng)
  bad = _bad_leaves(jax.jit(lambda *a: _leaf_flags(jax.grad(of)(*a)))(trainable, params, batch))
  return {"where": first_gradient(bad) if bad else
          "not found again with the parameters of the step after", "rows": []}


def first_gradient(bad):
  """The bad gradient nearest to the loss, of {leaf's name: layers that are bad, or None}."""
  name = min(bad, key=lambda name: (
      families.backward_order(name), -max(bad[name] or [0]), name))
  others = f", as {len(bad) - 1} other leaves' are" if len(bad) > 1 else ""
  layers = bad[name] and [max(bad[name])]
  return _named("gradient of", name, layers) + others


def _named(what, name, layers):
  return f"the {what} {name}" + (f", layer {layers[0]}" if layers else "")


def _leaf_flags(tree):
  """{name: bool [] or, where layers are stacked, [L]}: all finite? Of floats only."""
  flags = {}
  for name, x in zip(trees.names(tree), jax.tree.leaves(tree)):
    if jnp.issubdtype(x.dtype, jnp.inexact):
      stacked = families.param(name)[1].stacked
      flags[name] = jnp.all(jnp.isfinite(x), axis=tuple(range(1 if stacked else 0, x.ndim)))
  return flags


def _bad_leaves(flags):
  """{name: None or [layers]} of the leaves that are not finite."""
  flags = distributed.fetch(flags)
  return {name: np.flatnonzero(~ok).tolist() if np.ndim(ok) else None
          for name, ok in flags.items() if not np.all(ok)}


def _row_flags(x):
  return jnp.all(jnp.isfinite(x), axis=tuple(range(1, x.ndim)))


def _few(names, most=16):
  rest = f" and {len(names) - most} more" if len(names) > most else ""
  named = [" + ".join(x) if isinstance(x, list) else str(x) for x in names[:most]]  # of a row
  return ", ".join(named) + rest
