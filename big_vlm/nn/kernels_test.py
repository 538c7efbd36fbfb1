"""Every kernel against `einsum` with the mask of attention_mask; Pallas is interpreted here."""
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from big_vlm import sharding
from big_vlm.families import gemma, paligemma
from big_vlm.nn import attention, kernels, short_attention


def prefix_lm(prefixes, lengths, total):
  at = np.arange(total)
  return attention.prefix_lm(jnp.array([at >= p for p in prefixes], jnp.int32),
                             jnp.array([at < n for n in lengths]))


PROMPT = [0] * 50 + [1] * 50
TOKENS = {
    "causal": prefix_lm([0, 0], [200, 200], 200),
    "prefixes of two lengths": prefix_lm([130, 40], [256, 256], 256),
    "padding at the end": prefix_lm([100, 30], [150, 90], 200),
    "a hole in an example": attention.prefix_lm(
        jnp.array([np.arange(140) >= 120] * 2, jnp.int32),
        jnp.array([abs(np.arange(140) - 64) > 20, np.arange(140) >= 10])),
    "three examples in a row": attention.packed(
        jnp.array([[*PROMPT[:60], *PROMPT[:68], *PROMPT, *PROMPT[:12]]] * 2, jnp.int32),
        jnp.array([[1] * 60 + [2] * 68 + [3] * 100 + [0] * 12, [1] * 230 + [2] * 10])),
    "two turns": attention.prefix_lm(jnp.array([np.arange(140) % 50 > 30] * 2, jnp.int32)),
}


@pytest.fixture
def cudnn_by_xla(monkeypatch):
  """cuDNN needs an NVIDIA GPU; what it is given is the same for XLA's implementation."""
  product = jax.nn.dot_product_attention
  monkeypatch.setattr(jax.nn, "dot_product_attention", lambda *args, implementation, **kw: product(
      *args, implementation={"cudnn": "xla"}[implementation], **kw))


def draw(rng, tokens, heads, kv_heads, head_dim):
  shape = tokens.valid.shape
  q, k, v, weight = (jnp.asarray(rng.normal(size=(*shape, n, head_dim)), jnp.float32)
                     for n in (heads, kv_heads, kv_heads, heads))
  return (q, k, v), weight * tokens.valid[..., None, None]  # padding is read by nothing


def with_gradients(attend, inputs, weight):
  """(the output where weight is not 0, gradients of its weighted sum)."""
  def loss(inputs):
    out = attend(*inputs)
    return jnp.sum(out * weight), out * (weight != 0)
  (_, out), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(inputs)
  return out, *grads


def compare(kernel, tokens, inputs, weight, cap=None, **window):
  mask = attention.attention_mask(tokens, tokens, **window)
  ranges = attention.masks(kernel, tokens, tokens, **window)["local" if window else "global"]
  want = with_gradients(lambda *x: attention.attend(*x, mask, cap), inputs, weight)
  got = with_gradients(lambda *x: attention.attend(*x, ranges, cap), inputs, weight)
  for a, b in zip(got, want):
    np.testing.assert_allclose(a, b, atol=2e-5 * float(jnp.abs(b).max()), rtol=0)


@pytest.mark.parametrize("kernel", ["splash", "chunked", "cudnn"])
@pytest.mark.parametrize("case", TOKENS)
def test_equals_einsum(kernel, case, rng, monkeypatch, cudnn_by_xla):
  monkeypatch.setattr(kernels, "_CHUNK", 64)
  monkeypatch.setattr(kernels, "TILES", (128,))  # the first row of three examples leaves two out
  compare(kernel, TOKENS[case], *draw(rng, TOKENS[case], 4, 2, 16))


def test_tiles_that_are_left_out_move_no_data():
  first = jnp.array([0] * 5 + [5] * 5 + [10] * 5 + [0])
  last = jnp.array([4] * 5 + [9] * 5 + [14] * 5 + [0])
  (keys, runs), (queries, same) = kernels.tiles_to_run(first, last, jnp.arange(16) < 15, 4)
  assert runs.tolist() == same.tolist() == [[[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1],
                                             [0, 0, 1, 1]]]
  assert keys.tolist() == [[[0, 1, 1, 1], [0, 1, 2, 2], [1, 1, 2, 3], [2, 2, 2, 3]]]
  np.testing.assert_array_equal(queries[0], keys[0].T)  # as what runs is symmetric


@pytest.mark.parametrize("kernel", ["splash", "chunked"])
@pytest.mark.parametrize("heads,kv_heads,head_dim,cap", [
    (8, 1, 256, 5.), (2, 2, 72, None), (4, 4, 8, 5.)])  # Gemma's and SigLIP's head dims
def test_heads_and_softcap(kernel, heads, kv_heads, head_dim, cap, rng):
  tokens = TOKENS["padding at the end"]
  compare(kernel, tokens, *draw(rng, tokens, heads, kv_heads, head_dim), cap)


@pytest.mark.parametrize("kernel", ["splash", "chunked"])
@pytest.mark.parametrize("mode", attention.SLIDING_WINDOW_MODES)
@pytest.mark.parametrize("case", ["prefixes of two lengths", "a hole in an example",
                                  "three examples in a row"])
def test_windows(kernel, mode, case, rng):
  tokens = TOKENS[case]
  compare(kernel, tokens, *draw(rng, tokens, 2, 1, 8), window=50, mode=mode)


@pytest.mark.parametrize("length", [256, 196])  # of 196 rows, 60 of padding are added
@pytest.mark.parametrize("kernel", ["splash", "short", "chunked", "cudnn"])
def test_all_see_all(kernel, length, rng, cudnn_by_xla):
  inputs, weight = draw(rng, prefix_lm([length], [length], length), 2, 2, 72)
  want = with_gradients(attention.attend, inputs, weight)
  got = with_gradients(
      lambda *x: attention.attend(*x, attention.bidirectional(kernel)), inputs, weight)
  for a, b in zip(got, want):
    np.testing.assert_allclose(a, b, atol=2e-5 * float(jnp.abs(b).max()), rtol=0)


def test_a_step_of_the_short_kernel_takes_as_many_heads_as_fit(rng, monkeypatch):
  inputs, weight = draw(rng, prefix_lm([128], [128], 128), 4, 4, 16)
  call = lambda *x: attention.attend(*x, attention.bidirectional("short"))
  want = with_gradients(call, inputs, weight)
  monkeypatch.setattr(short_attention, "_STEP", 7 * 16 * 128 * 4)  # one head's, with gradients
  got = with_gradients(call, inputs, weight)
  jax.tree.map(np.testing.assert_array_equal, got, want)


@pytest.mark.parametrize("length,kv_heads,cap,valid", [
    (384, 2, None, None), (200, 1, None, None), (200, 2, 50., None),
    (200, 2, None, jnp.ones((2, 200), bool))])
def test_the_short_kernel_says_what_it_is_for(length, kv_heads, cap, valid):
  q, k = jnp.zeros((2, length, 2, 8)), jnp.zeros((2, length, kv_heads, 8))
  with pytest.raises(ValueError, match="attention='short' is for image towers of at most 256"):
    attention.attend(q, k, k, attention.bidirectional("short", valid), cap)


def test_the_short_kernel_over_a_mesh(rng):
  inputs, weight = draw(rng, prefix_lm([128] * 8, [128] * 8, 128), 4, 4, 8)
  mesh = sharding.make_mesh(dict(fsdp=4, tensor=2))
  want = with_gradients(attention.attend, inputs, weight)
  with jax.set_mesh(mesh):
    got = with_gradients(lambda *x: attention.attend(*x, attention.bidirectional("short")),
                         jax.device_put(inputs, sharding.batch_sharding(mesh)), weight)
  for a, b in zip(got, want):
    np.testing.assert_allclose(a, b, atol=2e-5 * float(jnp.abs(b).max()), rtol=0)


@pytest.mark.parametrize("shape,heads,kv_heads", [
    (dict(data=2, fsdp=4), 2, 1),
    (dict(data=2, fsdp=2, tensor=2), 4, 2),
    (dict(fsdp=2, tensor=4), 8, 2),  # 2 kv heads over 4 devices: each of them twice
    (dict(fsdp=4, tensor=2), 3, 1),  # 3 heads do not divide: all on each device
])
def test_cut_over_a_mesh(shape, heads, kv_heads, rng):
  tokens = prefix_lm(range(10, 90, 10), [128] * 8, 128)
  mesh = sharding.make_mesh(shape)
  inputs, weight = draw(rng, tokens, heads, kv_heads, 8)
  inputs = jax.device_put(inputs, sharding.batch_sharding(mesh))
  with jax.set_mesh(mesh):
    compare("splash", tokens, inputs, weight)


def test_a_batch_that_does_not_divide_is_not_cut(rng):
  tokens = prefix_lm([10, 20, 30], [128] * 3, 128)
  with jax.set_mesh(sharding.make_mesh()):
    compare("splash", tokens, *draw(rng, tokens, 2, 1, 8))


def test_chunks_need_a_fraction_of_the_memory(rng, monkeypatch):
  monkeypatch.setattr(kernels, "_CHUNK", 128)  # a 16th of the queries
  tokens = prefix_lm([1000], [2048], 2048)
  inputs, weight = draw(rng, tokens, 2, 1, 8)
  def scratch(kernel):
    mask = attention.masks(kernel, tokens, tokens)["global"]
    grad = jax.grad(lambda x: jnp.sum(attention.attend(*x, mask) * weight))
    return jax.jit(grad).lower(inputs).compile().memory_analysis().temp_size_in_bytes
  assert scratch("chunked") < scratch("einsum") / 8


def test_cudnn_says_that_it_has_no_softcap(rng):
  tokens = TOKENS["causal"]
  with pytest.raises(ValueError, match="no soft-cap, this model one of 50.*attention='chunked'"):
    compare("cudnn", tokens, *draw(rng, tokens, 2, 1, 8), 50.)


CASE = attention.KernelContext(platform="tpu", length=4608, head_dim=256, softcap=False,
                               dtype="bfloat16", masked=True, mesh_known=True)
TOWER = dict(head_dim=72, masked=False, length=4096)


@pytest.mark.parametrize("change,kernel", [
    ({}, "splash"),
    (TOWER, "splash"),
    (dict(softcap=True), "splash"),
    (dict(length=383), "splash"),
    (dict(length=256), "einsum"),
    (dict(TOWER, length=256), "short"),
    (dict(TOWER, length=64), "einsum"),
    (dict(TOWER, length=256, masked=True), "einsum"),  # NaFlex
    (dict(mesh_known=False), "chunked"),  # a Pallas call must know how its batch is sharded
    (dict(platform="gpu"), "chunked"),
    (dict(TOWER, platform="gpu"), "cudnn"),
    (dict(TOWER, platform="gpu", dtype="float32"), "chunked"),
    (dict(TOWER, platform="gpu", length=256), "einsum"),
    (dict(platform="gpu", length=1536), "einsum"),
    (dict(platform="cpu"), "chunked"),
    (dict(platform="cpu", length=384), "einsum"),
])
def test_auto_takes_what_serves(change, kernel):
  assert attention.auto(dataclasses.replace(CASE, **change)) == kernel


def test_a_named_kernel_is_taken_and_a_wrong_name_is_an_error():
  assert attention.select_kernel("splash", 16, 8) == "splash"
  assert attention.select_kernel("auto", 16, 8) == "einsum"
  with pytest.raises(ValueError, match="attention kernel 'splas'. Did you mean 'splash'"):
    gemma.config("tiny", attention="splas")


@pytest.mark.parametrize("llm,kernel", [
    ("tiny", "chunked"), ("tiny2", "splash"), ("opt_tiny", "splash")])
def test_a_model_gives_the_same_gradients(llm, kernel, rng):
  text = rng.integers(4, 128, (2, 12)).astype(np.int32)
  image = rng.integers(0, 256, (2, 16, 16, 3), np.uint8)
  mask_ar = (np.arange(12) >= np.array([[4], [7]])).astype(np.int32)
  valid = np.arange(12) < np.array([[12], [9]])
  weight = rng.normal(size=(2, 12, 32))

  def grads(kernel):
    model = paligemma.PaliGemma(paligemma.config(
        dict(variant="tiny", attention=kernel), dict(variant=llm, attention=kernel)))
    def loss(params):
      hidden = model.apply({"params": params}, text, mask_ar, image, valid, train=True)
      return jnp.sum(jnp.square(hidden) * valid[..., None] * weight)
    params = jax.jit(functools.partial(paligemma.init_params, model))(jax.random.key(0))
    return jax.jit(jax.grad(loss))(params)
  got, want = (jax.tree.leaves(grads(k)) for k in (kernel, "einsum"))
  floor = 1e-6 * max(jnp.abs(b).max() for b in want)  # biases of keys have a gradient of 0
  for a, b in zip(got, want):
    np.testing.assert_allclose(a, b, atol=float(floor + 1e-4 * jnp.abs(b).max()), rtol=0)


def test_probabilities_are_captured_whatever_the_kernel(rng):
  model = paligemma.PaliGemma(paligemma.config(
      dict(variant="tiny", attention="splash"), dict(variant="tiny", attention="splash")))
  text = rng.integers(4, 128, (1, 6)).astype(np.int32)
  image = rng.integers(0, 256, (1, 16, 16, 3), np.uint8)
  out = jax.jit(lambda: paligemma.outputs(
      model, paligemma.init_params(model, jax.random.key(0)), text, np.ones_like(text), image))()
  np.testing.assert_allclose(jnp.sum(out["attention"], -1), 1, atol=1e-5)
  np.testing.assert_allclose(jnp.sum(out["image_attention"], -1), 1, atol=1e-5)
