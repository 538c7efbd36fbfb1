"""One training step: a pure function of (state, batch); dropout is a function of (seed, step)."""
import flax.struct
import jax
import jax.numpy as jnp

from big_vlm.adapt import lora
from big_vlm.training import losses, optim


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


def hidden_states(model, params, batch, rng):
  """Of all text tokens but the last, [B, T - 1, D]."""
  segment = batch.get("segment")
  return model.apply(
      {"params": lora.with_dropout(params, rng)}, batch["text"][:, :-1],
      batch["mask_ar"][:, :-1], batch.get("image"),
      segment=None if segment is None else segment[:, :-1],
      image_segment=batch.get("image_segment"), train=True, rngs={"dropout": rng})


def loss_fn(model, params, batch, weights, rng, label_smoothing=0., z_loss=0.):
  """Sum of the weighted losses of text[:, 1:], float32 []; weights: float32 [B, T - 1]."""
  hidden = hidden_states(model, params, batch, rng)
  logits = lambda h: model.apply({"params": params}, h, method="logits")
  return losses.weighted_sum(logits, hidden, batch["text"][:, 1:], weights,
                             label_smoothing=label_smoothing, z_loss=z_loss)


def make_train_step(model, optimizer, seed, *, loss_normalization="example", grad_accum_steps=1,
                    **loss):
  """(state, batch) -> (state, metrics); jit it with the state donated.

  Args:
    loss_normalization: a row of losses.NORMALIZATIONS.
    grad_accum_steps: the batch goes through the model in so many parts, one after the other; loss
      and update are those of the whole batch.
    loss: label_smoothing and z_loss.

  The norms l2_* are those of the trainable parameters. A non-finite loss or gradient changes
  nothing but the step, and the metric "finite" is False: see nan_guard.py.
  """
  def gradients(params, trainable, frozen, batch, rng):
    mask = batch["mask_loss"][:, 1:]
    weights = losses.batch_weights(batch, loss_normalization)

    def of(trainable, part, weights, rng):
      return loss_fn(model, optim.combine(params, trainable, frozen), part, weights, rng, **loss)
    if grad_accum_steps == 1:
      return jax.value_and_grad(of)(trainable, batch, weights, rng), mask

    def add(total, part):
      return jax.tree.map(jnp.add, total, jax.value_and_grad(of)(trainable, *part)), None
    parts = (*_parts((batch, weights), grad_accum_steps), jax.random.split(rng, grad_accum_steps))
    zero = (jnp.float32(0), jax.tree.map(jnp.zeros_like, trainable))
    return jax.lax.scan(add, zero, parts)[0], mask

  def train_step(state, batch):
    rng = jax.random.fold_in(jax.random.key(seed), state.step)
    trainable, frozen = optim.partition(state.params, optimizer.trainable)
    (value, grads), mask = gradients(state.params, trainable, frozen, batch, rng)
    norm = optim.norm(grads)
    finite = jnp.isfinite(value) & jnp.isfinite(norm)
    updates, opt_state = optimizer.tx.update(grads, state.opt_state, trainable, finite=finite)
    moved = optim.norm(updates)
    # This depends on the norm of the updates, which reads the parameters too: XLA then takes that
    # norm first and overwrites the parameters in place.
    finite &= jnp.isfinite(moved)
    trainable = jax.tree.map(lambda p, u: jnp.where(finite, p + u, p).astype(p.dtype),
                             trainable, updates)
    ema = jax.tree.map(lambda old, new: optimizer.ema * old + (1 - optimizer.ema) * new,
                       state.ema, trainable) if optimizer.ema else None
    metrics = {"loss": value, **optimizer.rates(state.step), "l2_grads": norm,
               "l2_params": optim.norm(trainable), "l2_updates": moved,
               "supervised_tokens": jnp.sum(mask), "finite": finite}
    params = optim.combine(state.params, trainable, frozen)
    return TrainState(state.step + 1, params, opt_state, ema), metrics
  return train_step


def _parts(tree, parts):
  """Leaves [B, ...] -> [parts, B / parts, ...], so that rows stay on their devices: part i has
  every row whose number is i modulo `parts`."""
  return jax.tree.map(
      lambda x: jnp.moveaxis(x.reshape(-1, parts, *x.shape[1:]), 1, 0), tree)
