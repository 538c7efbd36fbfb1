"""The kernel for GPUs, interpreted on a CPU: equal to plain einsums, alone and in decoding."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from big_vlm.adapt import quantize
from big_vlm.families import paligemma
from big_vlm.nn import layer_matmul
from big_vlm.nn.kv_cache import KVCache


@pytest.mark.parametrize("eqn, x, w", [
    ("BTD,XDF->BTXF", (1, 1, 128), (2, 128, 64)), ("BTNH,NHD->BTD", (3, 1, 2, 16), (2, 16, 48))])
def test_a_layer_is_multiplied_in_its_stack(eqn, x, w, rng):
  x, stack = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in (x, (3, *w)))
  assert layer_matmul.split(eqn, x, stack)
  got = layer_matmul.OfLayer(stack, jnp.int32(1)).einsum(eqn, x, None)
  np.testing.assert_allclose(got, jnp.einsum(eqn, x, stack[1]), rtol=1e-5, atol=1e-5)


def test_the_sum_over_many_inputs_is_split(rng):
  x, stack = (jnp.asarray(rng.normal(size=shape), jnp.bfloat16)
              for shape in ((2, 2048), (1, 1, 2048, 16)))
  want = jnp.einsum("MK,XKN->MXN", x, stack[0], preferred_element_type=jnp.float32)
  got = layer_matmul.matmul(x, stack, jnp.int32(0))
  np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("eqn, x, w", [
    ("BTD,DF->BTF", (1, 1, 24), (24, 64)),  # 24 is no multiple of 16
    ("BTD,XDF->XBTF", (1, 1, 64), (2, 64, 64))])
def test_what_the_kernel_does_not_take_is_left_to_the_compiler(eqn, x, w, rng):
  x, stack = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in (x, (2, *w)))
  assert layer_matmul.split(eqn, x, stack) is None
  got = layer_matmul.OfLayer(stack, jnp.int32(1)).einsum(eqn, x, None)
  np.testing.assert_allclose(got, jnp.einsum(eqn, x, stack[1]), rtol=1e-5, atol=1e-5)


def test_the_head(rng):
  x, table = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((17, 48), (96, 48)))
  np.testing.assert_allclose(layer_matmul.head(x, table), x @ table.T, rtol=1e-5, atol=1e-5)


def test_other_devices_keep_their_programs():
  assert not layer_matmul.serves(jnp.zeros((1, 1, 8), jnp.bfloat16))


@pytest.mark.parametrize("decoder, kind", [
    ("tiny", None), ("tiny", "int8"), ("opt_tiny", None)])
def test_a_decode_step_gives_the_same_logits(decoder, kind, monkeypatch):
  model = paligemma.PaliGemma(paligemma.config(llm=dict(variant=decoder)))
  params = jax.jit(lambda: paligemma.init_params(model, jax.random.key(0)))()
  if kind:
    params = quantize.quantize(model, params, kind)
  c = model.config.llm
  cache = KVCache.empty(c.depth, 2, 4, c.kv_heads, c.head_dim, "float32")
  extend = lambda params: model.apply(
      {"params": params}, jnp.array([3, 4]), cache, method="extend")[0]
  want = jax.jit(extend)(params)
  monkeypatch.setattr(layer_matmul, "serves", lambda x: x.ndim == 2 or x.shape[1] == 1)
  program = jax.jit(lambda params: extend(params)).trace(params)
  assert str(program.jaxpr).count("pallas_call") > 4
  np.testing.assert_allclose(program.lower().compile()(params), want, rtol=1e-4, atol=1e-4)
