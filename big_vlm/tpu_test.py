import jax
import jax.numpy as jnp
import numpy as np
import pytest

from big_vlm import cpu, tpu
from big_vlm.nn import layers


@pytest.mark.parametrize("eqn, x, w", [
    ("BTD,XDF->BTXF", (1, 1, 16), (2, 16, 8)), ("BTNH,NHD->BTD", (3, 1, 2, 4), (2, 4, 16)),
    ("...D,VD->...V", (2, 16), (32, 16)), ("BTD,DF->BTF", (3, 2, 16), (16, 8)),
    ("BTD,DF->BTF", (8, 1, 16), (16, 8))])
def test_few_rows_are_multiplied_as_a_tile(eqn, x, w, monkeypatch, rng):
  x, w = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in (x, w))
  monkeypatch.setattr(cpu, "platform", lambda: "tpu")
  want = jnp.einsum(eqn, x, w)
  np.testing.assert_allclose(layers.einsum(eqn, x, w), want, rtol=1e-6, atol=1e-6)
  padded = "pad" in str(jax.make_jaxpr(lambda x: layers.einsum(eqn, x, w))(x))
  assert padded == (len(x) < tpu.ROWS and (x.ndim == 2 or x.shape[1] == 1))


def test_other_devices_keep_their_compilers_options():
  assert tpu.window_options() is None
