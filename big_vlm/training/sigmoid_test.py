import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from big_vlm import sharding
from big_vlm.training import sigmoid

D = 6


def plain(zi, zt, t, b):
  """As the paper's pseudocode writes it."""
  logits = jnp.einsum("ID,TD->IT", zi, zt, precision="highest") * jnp.exp(t)[None] + b[None]
  return -jnp.mean(jnp.sum(jax.nn.log_sigmoid((2 * jnp.eye(len(zi)) - 1) * logits), axis=1))


def vectors(rng, batch):
  """(zi, zt, t, b) of a training that has begun."""
  zi, zt = (x / np.linalg.norm(x, axis=1, keepdims=True)
            for x in rng.normal(size=(2, batch, D)).astype(np.float32))
  return zi, (zi + zt) / 2, np.log([10.]).astype(np.float32), np.array([-5.], np.float32)


@pytest.mark.parametrize("chunk", [1024, 2])
@pytest.mark.parametrize("devices, mesh, batch", [
    (8, dict(data=2, tensor=2), 12), (8, {}, 24), (1, {}, 7)])
def test_it_is_the_plain_loss_on_any_mesh(rng, monkeypatch, devices, mesh, batch, chunk):
  monkeypatch.setattr(sigmoid, "CHUNK", chunk)
  *rows, t, b = args = vectors(rng, batch)
  want, gradients = jax.value_and_grad(plain, (0, 1, 2, 3))(*args)
  mesh = sharding.make_mesh(mesh, jax.devices()[:devices])
  with jax.set_mesh(mesh):
    zi, zt = sharding.make_global_array(mesh, dict(zip("it", rows))).values()
    differentiate = jax.jit(jax.value_and_grad(
        lambda *args: 3 * sigmoid.loss(*args)[0], (0, 1, 2, 3)))
    got, found = differentiate(zi, zt, t, b)
    (_, means), _ = jax.jit(sigmoid.value_and_gradients)(zi, zt, t, b)
  np.testing.assert_allclose(got, 3 * want, rtol=1e-6)
  for a, b_ in zip(found, gradients):
    np.testing.assert_allclose(a, 3 * b_, rtol=1e-6, atol=1e-6)
  logits = rows[0] @ rows[1].T * np.exp(t) + b
  np.testing.assert_allclose(means["positives"], np.diag(logits).mean(), rtol=1e-5)
  np.testing.assert_allclose(means["negatives"], logits[~np.eye(batch, dtype=bool)].mean(),
                             rtol=1e-5)


def test_padding_rows_count_in_no_sum(rng, mesh1):
  zi, zt, t, b = vectors(rng, 6)
  whole = sigmoid.pairs(*(jnp.asarray(x[:4]) for x in (zi, zt)), t, b)
  real = np.arange(6) < 4
  padded = sigmoid.pairs(jnp.asarray(zi), jnp.asarray(zt), t, b, real)
  for a, b_ in zip(whole, padded):
    np.testing.assert_allclose(a, b_[:4], rtol=1e-6)
    assert not b_[4:].any()
  np.testing.assert_allclose(whole.loss.mean(), plain(zi[:4], zt[:4], t, b), rtol=1e-6)


@pytest.mark.parametrize("devices", [1, 8])
def test_no_device_holds_the_logits_of_all_pairs(devices):
  """Nor a row of them: the largest array is that of the vectors, or of a chunk's logits."""
  batch = 64 * devices
  mesh = sharding.make_mesh(devices=jax.devices()[:devices])
  rows = jax.ShapeDtypeStruct((batch, D), jnp.float32, sharding=sharding.batch_sharding(mesh))
  one = jax.ShapeDtypeStruct((1,), jnp.float32)
  with jax.set_mesh(mesh):
    program = jax.jit(jax.value_and_grad(sigmoid.loss, (0, 1), has_aux=True)).lower(
        rows, rows, one, one).compile().as_text()
  sizes = {int(np.prod([int(n) for n in shape.split(",")]))
           for shape in re.findall(r"\w\d+\[([\d,]+)\]", program)}
  assert 64 * D in sizes and max(sizes) <= 64 * 64 // (4 if devices == 1 else 1)
