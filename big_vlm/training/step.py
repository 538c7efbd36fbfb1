"""One training step: a pure function of (state, batch); dropout is a function of (seed, step)."""
import flax.struct
import jax
import jax.numpy as jnp

from big_vlm.training import losses, optim


@flax.struct.dataclass
class TrainState:
  step: jax.Array  # int32 []: updates done
  params: dict  # what trains is float32, frozen leaves are of any dtype
  opt_state: tuple  # of what trains
  ema: dict | None = None  # of what trains: moving average of it, where the optimizer asks for one


def start(params, optimizer):
  """The TrainState before the first step. optimizer: an optim.Optimizer."""
  trained, _ = optim.split(params, optimizer.trains)
  ema = jax.tree.map(jnp.array, trained) if optimizer.ema else None
  return TrainState(jnp.int32(0), params, optimizer.rule.init(trained), ema)


def averaged(state, optimizer):
  """The parameters to evaluate and to hand on: those of the moving average if there is one."""
  if state.ema is None:
    return state.params
  return optim.join(state.params, state.ema, optim.split(state.params, optimizer.trains)[1])


def loss_fn(model, params, batch, weights, rng, label_smoothing=0., z_loss=0.):
  """Sum of the weighted losses of text[:, 1:], float32 []; weights: float32 [B, T - 1]."""
  hidden = model.apply(
      {"params": params}, batch["text"][:, :-1], batch["mask_ar"][:, :-1], batch.get("image"),
      train=True, rngs={"dropout": rng})
  logits = lambda h: model.apply({"params": params}, h, method="logits")
  return losses.weighted_sum(logits, hidden, batch["text"][:, 1:], weights,
                             label_smoothing=label_smoothing, z_loss=z_loss)


def make_train_step(model, optimizer, seed, *, mean="example", microbatches=1, **loss):
  """(state, batch) -> (state, metrics); jit it with the state donated.

  mean: a row of losses.MEANS. loss: label_smoothing and z_loss. The batch goes through the model in
  so many microbatches, one after the other; loss and update are those of the whole batch. The norms
  l2_* are those of the leaves that train. A loss or gradient that is not finite changes nothing but
  the step, and the metric "finite" is False: see finite.py.
  """
  def gradients(params, trained, frozen, batch, rng):
    mask = batch["mask_loss"][:, 1:]
    weights = losses.token_weights(mask, mean)

    def of(trained, part, weights, rng):
      return loss_fn(model, optim.join(params, trained, frozen), part, weights, rng, **loss)
    if microbatches == 1:
      return jax.value_and_grad(of)(trained, batch, weights, rng), mask

    def add(total, part):
      return jax.tree.map(jnp.add, total, jax.value_and_grad(of)(trained, *part)), None
    parts = (*_cut((batch, weights), microbatches), jax.random.split(rng, microbatches))
    zero = (jnp.float32(0), jax.tree.map(jnp.zeros_like, trained))
    return jax.lax.scan(add, zero, parts)[0], mask

  def train_step(state, batch):
    rng = jax.random.fold_in(jax.random.key(seed), state.step)
    trained, frozen = optim.split(state.params, optimizer.trains)
    (value, grads), mask = gradients(state.params, trained, frozen, batch, rng)
    norm = optim.norm(grads)
    finite = jnp.isfinite(value) & jnp.isfinite(norm)
    updates, opt_state = optimizer.rule.update(grads, state.opt_state, trained, finite=finite)
    moved = optim.norm(updates)
    # That this depends on the norm of the updates lets XLA overwrite the parameters in place, since
    # that norm, which reads them too, is then sure to be taken before.
    finite &= jnp.isfinite(moved)
    trained = jax.tree.map(lambda p, u: jnp.where(finite, p + u, p).astype(p.dtype),
                           trained, updates)
    ema = jax.tree.map(lambda old, new: optimizer.ema * old + (1 - optimizer.ema) * new,
                       state.ema, trained) if optimizer.ema else None
    metrics = {"loss": value, **optimizer.rates(state.step), "l2_grads": norm,
               "l2_params": optim.norm(trained), "l2_updates": moved,
               "supervised_tokens": jnp.sum(mask), "finite": finite}
    params = optim.join(state.params, trained, frozen)
    return TrainState(state.step + 1, params, opt_state, ema), metrics
  return train_step


def _cut(tree, parts):
  """Leaves [B, ...] -> [parts, B / parts, ...], so that rows stay on their devices: part i has
  every row whose number is i modulo `parts`."""
  return jax.tree.map(
      lambda x: jnp.moveaxis(x.reshape(-1, parts, *x.shape[1:]), 1, 0), tree)
