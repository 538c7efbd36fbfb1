import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import big_vlm
from big_vlm import trees
from big_vlm.adapt import einsum_hook, lora
from big_vlm.training import contrastive, nan_guard, objectives, optim, setup
from configs import common

B, T, SIZE = 8, 8, 16
FLAT = dict(decay="constant")


def make_config(**changes):
  c = common.train(total_steps=4)
  c.model.img = dict(variant="tiny", depth=1, pool="map")
  c.model.txt = dict(variant="text_tiny", depth=1)
  c.input.batch_size, c.loss.name = B, "sigmoid"
  c.update_from_flattened_dict(changes)
  return c


@pytest.fixture(scope="module")
def config():
  return make_config()


@pytest.fixture(scope="module")
def made(config):
  return setup.make(config, jax.devices()[:1])


@pytest.fixture(scope="module")
def state(config, made):
  return setup.start(config, made)


@pytest.fixture(scope="module")
def batch():
  rng = np.random.default_rng(0)
  return dict(text=rng.integers(4, 60, (B, T)).astype(np.int32),
              image=rng.integers(0, 256, (B, SIZE, SIZE, 3)).astype(np.uint8))


def test_a_training_begins_as_published_and_learns_its_pairs(made, state, batch):
  state, losses = jax.tree.map(jnp.copy, state), []
  with jax.set_mesh(made.mesh):
    for _ in range(3):
      state, metrics = made.step(state, batch)
      losses.append(float(metrics["loss"]))
      if len(losses) == 1:
        np.testing.assert_allclose(metrics["temperature"], 10, rtol=1e-6)
        assert metrics["bias"] == -10 and -20 <= metrics["positives"] <= 0
  assert losses[2] < losses[0] and 8 < losses[0] < 20


def test_parts_of_a_batch_are_compared_with_all_of_it(made, state, batch):
  """GradCache: the same loss and gradients, by two readings of each part."""
  objective, whole = contrastive.Sigmoid(made.model), lambda params: params
  run = lambda steps: jax.jit(lambda p, b: objective.gradients(
      whole, p, b, jax.random.key(0), steps))(state.params, batch)
  (want, gradients, metrics), (got, parts, means) = run(1), run(4)
  np.testing.assert_allclose(got, want, rtol=1e-6)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), parts,
               gradients)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), means, metrics)


@pytest.mark.parametrize("tower, other", [("img", "txt"), ("txt", "img")])
def test_nothing_goes_back_through_a_frozen_tower(batch, tower, other):
  s = setup.make(make_config(**{"optimizer.schedule": ((f"{tower}/.*", None), (".*", FLAT))}),
                 jax.devices()[:1])
  held = trees.names(s.shapes.opt_state)
  assert not [name for name in held if f"/{tower}/" in name]
  assert [name for name in held if f"/{other}/" in name]
  assert optim.weight_flops(s.optimizer)[f"{tower}/"] == 2
  shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), batch)
  with jax.set_mesh(s.mesh):
    program = s.step.lower(s.shapes, shapes).as_text(debug_info=True)
  back = lambda part: re.search(rf'transpose\(jvp\([^"]*/{part}/', program)
  assert back(other) and not back(tower)


@pytest.mark.parametrize("changes, complaint", [
    ({"input.packing": "pack"}, "config.input.packing='pack', but a text tower reads rows of one"),
    ({"loss.name": "softmax"}, "Unknown config.loss.name 'softmax'"),
    ({"loss.name": "next_token"}, "'next_token' trains a decoder, and this model is two towers"),
    ({"loss.label_smoothing": 0.1}, "label_smoothing=0.1, but the loss 'sigmoid' has no label"),
    ({"model.txt": {}}, "'sigmoid' compares the vectors of two towers"),
    ({"model.llm": dict(variant="tiny")}, "'sigmoid' compares the vectors of two towers"),
    ({"model.img.naflex": True}, "A NaFlex tower cannot be trained here"),
    ({"optimizer.schedule": (("image/.*", None), (".*", FLAT))}, "image/"),
])
def test_what_does_not_fit_is_refused(changes, complaint):
  c = make_config()
  for field, value in changes.items():
    *parents, last = field.split(".")
    at = c
    for parent in parents:
      at = at[parent]
    with c.unlocked():
      at[last] = value
  with pytest.raises(ValueError, match=complaint):
    setup.make(c, jax.devices()[:1])


def test_the_guard_finds_what_is_not_finite(made, config, state, batch):
  params = trees.map_with_names(
      lambda name, x: jnp.full_like(x, 1e38) if name == "txt/head/kernel" else x, state.params)
  with jax.set_mesh(made.mesh):
    found = nan_guard.first_bad(made, params, batch, 1, config.seed, config.loss.to_dict())
  assert found["where"] == "the vectors that the text tower makes" and len(found["rows"]) == B


@pytest.fixture(scope="module")
def towers(state, made, tmp_path_factory):
  """A folder with "pair.npz", the two towers, and "bare.npz", an image tower that does not pool."""
  folder = tmp_path_factory.mktemp("towers")
  leaves = dict(zip(trees.names(state.params), map(np.asarray, jax.tree.leaves(state.params))))
  np.savez(folder / "pair.npz", **{n: x + 1 for n, x in leaves.items()})
  bare = {n.removeprefix("img/"): x for n, x in leaves.items()
          if n.startswith("img/") and "MAPHead" not in n}
  np.savez(folder / "bare.npz", **{f"img/{n}": x + 1 for n, x in bare.items()})
  return folder


def test_a_frozen_tower_of_a_checkpoint_beside_a_fresh_one(state, batch, towers):
  """LiT: the tower of the checkpoint stays, the other trains from its random start."""
  c = make_config(**{"optimizer.schedule": (("img/.*", None), (".*", FLAT)),
                     "init.img": str(towers / "pair.npz")})
  s = setup.make(c, jax.devices()[:1])
  begun = setup.start(c, s)
  with jax.set_mesh(s.mesh):
    after, _ = s.step(jax.tree.map(jnp.copy, begun), batch)
  same = lambda a, b, change=0.: jax.tree.map(
      lambda x, y: np.testing.assert_array_equal(x, y + change), a, b)
  same(begun.params["img"], state.params["img"], 1.)
  same(begun.params["txt"], state.params["txt"])
  same(after.params["img"], begun.params["img"])
  moved = jax.tree.map(lambda x, y: bool((x != y).any()), after.params["txt"], begun.params["txt"])
  assert all(jax.tree.leaves(moved)) and after.params["t"] != begun.params["t"]


def test_what_a_checkpoint_lacks_is_not_frozen_at_random(towers):
  c = make_config(**{"optimizer.schedule": (("img/.*", None), (".*", FLAT)),
                     "init.img": str(towers / "bare.npz")})
  s = setup.make(c, jax.devices()[:1])
  with pytest.raises(ValueError, match=r"img/MAPHead_0/\S+ and \d+ more would stay random: .*bare."
                     r"npz has no img/MAPHead_0.*\('img/MAPHead_0/.\*', "):
    setup.start(c, s)
  c.optimizer.schedule = (("img/MAPHead_0/.*", FLAT), *c.optimizer.schedule)
  setup.start(c, setup.make(c, jax.devices()[:1]))
  c = make_config(**{"lora.rank": 2, "lora.targets": "txt/.*kernel",
                     "init.img": str(towers / "bare.npz")})
  with pytest.raises(ValueError, match="img/MAPHead_0/.* config.lora freezes it. Train without"):
    setup.start(c, setup.make(c, jax.devices()[:1]))


def test_adapters_over_towers_of_other_frameworks(made, state, batch, tmp_path):
  """The image tower from Hugging Face's files, the text tower from KerasHub's."""
  vlm = big_vlm.VLM(made.model, state.params, None, made.mesh, None, "memory")
  for format in ("hf", "keras"):
    vlm.export(tmp_path / format, format)
  c = make_config(**{"lora.rank": 2, "lora.targets": "(img|txt)/.*MlpBlock_0/.*kernel",
                     "init.img": str(tmp_path / "hf"), "init.txt": str(tmp_path / "keras")})
  s = setup.make(c, jax.devices()[:1])
  begun = setup.start(c, s)
  base = lambda params: jax.tree.leaves(jax.tree.map(
      lambda w: getattr(w, "base", w), params, is_leaf=einsum_hook.is_wrapper))
  with jax.set_mesh(s.mesh):
    after, metrics = s.step(jax.tree.map(jnp.copy, begun), batch)
    _, want = made.step(jax.tree.map(jnp.copy, state), batch)
  np.testing.assert_allclose(metrics["loss"], want["loss"], rtol=1e-6)
  for x, y, z in zip(base(begun.params), base(after.params), jax.tree.leaves(state.params)):
    np.testing.assert_array_equal(x, z)
    np.testing.assert_array_equal(y, z)
  for name, weight in lora.adapters(after.params).items():
    assert weight.lora_b.any(), name


def test_objectives_know_their_arguments(made):
  with pytest.raises(ValueError, match="Did you mean 'z_loss'"):
    objectives.make(made.model, "sigmoid", zloss=1.)
