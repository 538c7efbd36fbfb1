"""One training step: a pure function of (state, batch); dropout is a function of (seed, step)."""
import flax.struct
import jax
import jax.numpy as jnp

from big_vlm.training import objectives, optim


@flax.struct.dataclass
class TrainState:
  step: jax.Array  # int32 []: updates done
  params: dict  # the trainable ones are float32, frozen leaves are of any dtype
  opt_state: tuple  # of the trainable parameters
  ema: dict | None = None  # moving average of them, where the optimizer asks for one


def start(params, optimizer):
  """The TrainState before the first step. optimizer: an optim.Optimizer."""
  trainable, _ = optim.partition(params, optimizer.trainable)
  ema = jax.tree.map(jnp.array, trainable) if optimizer.ema else None
  return TrainState(jnp.int32(0), params, optimizer.tx.init(trainable), ema)


def ema_params(state, optimizer):
  """The parameters to evaluate and to export: those of the moving average if there is one."""
  if state.ema is None:
    return state.params
  frozen = optim.partition(state.params, optimizer.trainable)[1]
  return optim.combine(state.params, state.ema, frozen)


def make_train_step(model, optimizer, seed, *, grad_accum_steps=1, **loss):
  """(state, batch) -> (state, metrics); jit it with the state donated.

  Args:
    grad_accum_steps: the batch goes through the model in so many parts, one after the other; loss
      and update are those of the whole batch.
    loss: a config's, as objectives.make takes it.

  The norms l2_* are those of the trainable parameters. A non-finite loss or gradient changes
  nothing but the step, and the metric "finite" is False: see nan_guard.py. Nor does a batch
  with a "loss_weight" (losses.batch_weights) that is 0 everywhere, whatever momentum and weight
  decay would do.
  """
  objective = objectives.make(model, **loss)

  def train_step(state, batch):
    rng = jax.random.fold_in(jax.random.key(seed), state.step)
    trainable, frozen = optim.partition(state.params, optimizer.trainable)
    value, grads, metrics = objective.gradients(
        lambda trainable: optim.combine(state.params, trainable, frozen), trainable, batch, rng,
        grad_accum_steps)
    norm = optim.norm(grads)
    finite = jnp.isfinite(value) & jnp.isfinite(norm)
    learns = finite & jnp.any(batch["loss_weight"]) if "loss_weight" in batch else finite
    updates, opt_state = optimizer.tx.update(grads, state.opt_state, trainable, finite=learns)
    if "loss_weight" in batch:  # before its first step Adam divides by 0
      updates = jax.tree.map(lambda u: jnp.where(learns | ~finite, u, 0), updates)
    moved = optim.norm(updates)
    # This depends on the norm of the updates, which reads the parameters too: XLA then takes that
    # norm first and overwrites the parameters in place.
    finite, learns = finite & jnp.isfinite(moved), learns & jnp.isfinite(moved)
    trainable = jax.tree.map(lambda p, u: jnp.where(learns, p + u, p).astype(p.dtype),
                             trainable, updates)
    ema = jax.tree.map(lambda old, new: optimizer.ema * old + (1 - optimizer.ema) * new,
                       state.ema, trainable) if optimizer.ema else None
    metrics = {"loss": value, **optimizer.rates(state.step), "l2_grads": norm,
               "l2_params": optim.norm(trainable), "l2_updates": moved, **metrics,
               "finite": finite}
    params = optim.combine(state.params, trainable, frozen)
    return TrainState(state.step + 1, params, opt_state, ema), metrics
  return train_step
