"""One training step: a pure function of (state, batch); dropout is a function of (seed, step)."""
import flax.struct
import jax
import jax.numpy as jnp
import optax

from big_vlm.training import losses


@flax.struct.dataclass
class TrainState:
  step: jax.Array  # int32 []: updates done
  params: dict  # float32
  opt_state: tuple


def start(params, optimizer):
  """The TrainState before the first step."""
  return TrainState(jnp.int32(0), params, optimizer.init(params))


def loss_fn(model, params, batch, rng):
  """Mean over examples of the mean NLL of their supervised tokens, and the token counts."""
  hidden = model.apply(
      {"params": params}, batch["text"][:, :-1], batch["mask_ar"][:, :-1], batch.get("image"),
      train=True, rngs={"dropout": rng})
  mask = batch["mask_loss"][:, 1:].astype(jnp.float32)
  logits = lambda h: model.apply({"params": params}, h, method="logits")
  nll = losses.token_nll(logits, hidden, batch["text"][:, 1:])
  return losses.example_mean(nll, mask), {"supervised_tokens": jnp.sum(mask)}


def make_train_step(model, optimizer, rate, seed):
  """(state, batch) -> (state, metrics); jit it with the state donated."""
  def train_step(state, batch):
    rng = jax.random.fold_in(jax.random.key(seed), state.step)
    (loss, counts), grads = jax.value_and_grad(
        lambda p: loss_fn(model, p, batch, rng), has_aux=True)(state.params)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    metrics = {"loss": loss, "lr": rate(state.step), "l2_grads": optax.tree.norm(grads),
               "l2_params": optax.tree.norm(params), "l2_updates": optax.global_norm(updates),
               **counts}
    return TrainState(state.step + 1, params, opt_state), metrics
  return train_step
