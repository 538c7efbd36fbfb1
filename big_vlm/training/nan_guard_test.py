import jax
import jax.numpy as jnp
import numpy as np
import pytest

from big_vlm import sharding
from big_vlm.training import nan_guard, setup
from configs import common

B, T, SIZE = 4, 10, 16
IDS = [f"mine:{i}" for i in range(B)]


@pytest.fixture(scope="module")
def config():
  config = common.train(total_steps=4)
  config.model.update(img=dict(variant="tiny", image_size=SIZE), llm=dict(variant="tiny"))
  config.input.batch_size = B
  return config


@pytest.fixture(scope="module")
def made(config):
  s = setup.make(config, jax.devices()[:1])
  with jax.set_mesh(s.mesh):
    yield s


@pytest.fixture(scope="module")
def state(config, made):
  return setup.start(config, made)


@pytest.fixture
def batch(made, rng):
  mask = np.tile((np.arange(T) >= 5).astype(np.int32), (B, 1))
  text = rng.integers(4, 120, (B, T)).astype(np.int32)
  image = rng.integers(0, 256, (B, SIZE, SIZE, 3)).astype(np.uint8)
  return sharding.make_global_array(
      made.mesh, dict(text=text, mask_ar=mask, mask_loss=mask, image=image))


def with_leaf(state, path, change):
  """The state with one parameter, a/b/c, changed by a function of numpy."""
  names = path.split("/")
  def at(tree, names):
    value = tree[names[0]]
    if len(names) > 1:
      return {**tree, names[0]: at(value, names[1:])}
    return {**tree, names[0]: jnp.asarray(change(np.array(value)))}
  return state.replace(params=at(state.params, names))


def poison(index, value):
  def change(x):
    x[index] = value
    return x
  return change


def step(made, config, state, batch):
  """(state after, what the guard raises or None)."""
  guard = nan_guard.NaNGuard(made, config.seed, config.loss.to_dict())
  new, metrics = made.step(jax.tree.map(jnp.copy, state), batch)
  guard.watch(1, new, metrics, batch, IDS)
  assert "finite" not in metrics  # which is no metric to log
  try:
    return guard.flush(new) or new, None
  except ValueError as e:
    return new, str(e)


def test_a_good_step_passes(made, config, state, batch):
  new, error = step(made, config, state, batch)
  assert error is None and int(new.step) == 1


CASES = {
    "a parameter": ("llm/layers/mlp/linear", poison((1, 0, 0), np.nan),
                    "First bad: the parameter llm/layers/mlp/linear, layer 1."),
    "image tokens": ("img/Transformer/encoderblock/MlpBlock_0/Dense_1/kernel",
                     lambda x: np.full_like(x, 1e38),
                     "First bad: the image tokens that the image tower makes."),
    "hidden states": ("llm/layers/mlp/linear", lambda x: np.full_like(x, 1e38),
                      "First bad: the hidden states of the language model."),
}


@pytest.mark.parametrize("name", CASES)
def test_where_it_began(made, config, state, batch, name):
  path, change, words = CASES[name]
  bad = with_leaf(state, path, change)
  new, error = step(made, config, bad, batch)
  assert words in error and "Step 1: the loss is" in error
  assert f"The batch: {', '.join(IDS)}." in error
  # There was no update, of the good leaves neither.
  jax.tree.map(np.testing.assert_array_equal, new.params, bad.params)
  jax.tree.map(np.testing.assert_array_equal, new.opt_state, bad.opt_state)


def test_the_examples_that_are_bad_alone(made, config, state, batch):
  # The embedding of one token is beyond float32 when squared; two examples have it.
  text = np.array(batch["text"])
  text[[1, 3], 2] = 121
  batch = {**batch, "text": jnp.asarray(text)}
  table = "llm/embedder/input_embedding"
  _, error = step(made, config, with_leaf(state, table, poison(121, 3e38)), batch)
  assert "In the examples mine:1, mine:3." in error


def test_earlier_steps_are_looked_at_without_waiting(made, config, state, batch):
  guard = nan_guard.NaNGuard(made, config.seed, config.loss.to_dict())
  state = with_leaf(jax.tree.map(jnp.copy, state), "llm/final_norm/scale", poison(0, np.nan))
  for number in range(1, nan_guard.LAG + 1):
    state, metrics = made.step(state, batch)
    guard.watch(number, state, metrics, batch, IDS)
  state, metrics = made.step(state, batch)
  with pytest.raises(ValueError, match="Step 1: .*the parameter llm/final_norm/scale"):
    guard.watch(3, state, metrics, batch, IDS)


@pytest.mark.parametrize("bad, words", [
    ({"img/head/kernel": None, "llm/layers/mlp/linear": [0, 1], "llm/final_norm/scale": None},
     "the gradient of llm/final_norm/scale, as 2 other leaves' are"),
    ({"img/embedding/kernel": None, "llm/layers/mlp/linear": [0, 3],
      "llm/layers/attn/q_einsum/w": [0]},
     "the gradient of llm/layers/mlp/linear, layer 3, as 2 other leaves' are"),
    ({"img/embedding/kernel": None,
      "img/Transformer/encoderblock/LayerNorm_0/scale": [0, 1, 2]},
     "the gradient of img/Transformer/encoderblock/LayerNorm_0/scale, layer 2, as 1 other"),
    ({"img/pos_embedding": None}, "the gradient of img/pos_embedding")])
def test_the_first_bad_gradient_is_the_one_nearest_to_the_loss(bad, words):
  assert nan_guard.first_gradient(bad).startswith(words)
