"""One training step: a pure function of (state, batch); dropout is a function of (seed, step)."""
import flax.struct
import jax
import jax.numpy as jnp
import optax

from big_vlm.training import losses, optim


@flax.struct.dataclass
class TrainState:
  step: jax.Array  # int32 []: updates done
  params: dict  # what trains is float32, frozen leaves are of any dtype
  opt_state: tuple  # of what trains


def start(params, optimizer):
  """The TrainState before the first step. optimizer: an optim.Optimizer."""
  trained, _ = optim.split(params, optimizer.trains)
  return TrainState(jnp.int32(0), params, optimizer.rule.init(trained))


def loss_fn(model, params, batch, rng):
  """Mean over examples of the mean NLL of their supervised tokens, and the token counts."""
  hidden = model.apply(
      {"params": params}, batch["text"][:, :-1], batch["mask_ar"][:, :-1], batch.get("image"),
      train=True, rngs={"dropout": rng})
  mask = batch["mask_loss"][:, 1:].astype(jnp.float32)
  logits = lambda h: model.apply({"params": params}, h, method="logits")
  nll = losses.token_nll(logits, hidden, batch["text"][:, 1:])
  return losses.example_mean(nll, mask), {"supervised_tokens": jnp.sum(mask)}


def make_train_step(model, optimizer, seed):
  """(state, batch) -> (state, metrics); jit it with the state donated.

  The norms l2_* are those of the leaves that train.
  """
  def train_step(state, batch):
    rng = jax.random.fold_in(jax.random.key(seed), state.step)
    trained, frozen = optim.split(state.params, optimizer.trains)
    whole = lambda trained: optim.join(state.params, trained, frozen)
    (loss, counts), grads = jax.value_and_grad(
        lambda p: loss_fn(model, whole(p), batch, rng), has_aux=True)(trained)
    updates, opt_state = optimizer.rule.update(grads, state.opt_state, trained)
    trained = optax.apply_updates(trained, updates)
    metrics = {"loss": loss, "lr": optimizer.rate(state.step), "l2_grads": optax.tree.norm(grads),
               "l2_params": optax.tree.norm(trained), "l2_updates": optax.tree.norm(updates),
               **counts}
    return TrainState(state.step + 1, whole(trained), opt_state), metrics
  return train_step
