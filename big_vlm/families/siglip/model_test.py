import functools

import jax
import numpy as np
import pytest

from big_vlm.families import paligemma
from big_vlm.families import siglip as vit


def build(**changes):
  model = paligemma.PaliGemma(paligemma.config(dict(variant="tiny", **changes)))
  params = jax.jit(lambda: paligemma.init_params(model, jax.random.key(0)))()
  keys = iter(jax.random.split(jax.random.key(1), 100))
  return model, jax.tree.map(lambda x: x + 0.1 * jax.random.normal(next(keys), x.shape), params)


@functools.partial(jax.jit, static_argnums=0)
def embed(model, params, image):
  return model.apply({"params": params}, image, method="embed_image")


@pytest.fixture
def image(rng):
  return rng.integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)


def map_head_by_loops(p, x):
  """[B, L, D] -> [B, D] in float64, from SigLIP's description: y = attn(probe, x); y + mlp(y)."""
  p = jax.tree.map(lambda x: np.asarray(x, np.float64), p)
  w = p["MultiHeadDotProductAttention_0"]
  project = lambda name, x: np.einsum("ld,dnh->lnh", x, w[name]["kernel"]) + w[name]["bias"]
  out = []
  for row in np.asarray(x, np.float64):
    q, k, v = project("query", p["probe"][0]), project("key", row), project("value", row)
    scores = np.exp(np.einsum("nh,lnh->nl", q[0], k) / np.sqrt(q.shape[-1]))
    y = np.einsum("nl,lnh->nh", scores / scores.sum(-1, keepdims=True), v)
    y = np.einsum("nh,nhd->d", y, w["out"]["kernel"]) + w["out"]["bias"]
    z = (y - y.mean()) / np.sqrt(y.var() + 1e-6)
    z = z * p["LayerNorm_0"]["scale"] + p["LayerNorm_0"]["bias"]
    one, two = p["MlpBlock_0"]["Dense_0"], p["MlpBlock_0"]["Dense_1"]
    z = z @ one["kernel"] + one["bias"]
    z = z / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
    out.append(y + z @ two["kernel"] + two["bias"])
  return np.stack(out)


def test_map_head_pools_what_the_plain_tower_gives(image):
  model, params = build(pool="map")
  plain = paligemma.PaliGemma(paligemma.config(dict(variant="tiny")))
  rest = {"img": {k: v for k, v in params["img"].items() if k != "MAPHead_0"}}
  pooled = embed(model, params, image)
  assert pooled.shape == (3, 32)
  np.testing.assert_allclose(
      pooled, map_head_by_loops(params["img"]["MAPHead_0"], embed(plain, rest, image)), atol=1e-5)


@pytest.mark.parametrize("pool", ["gap", "tok"])
def test_other_pools_and_what_comes_after(pool, image):
  """A tanh layer and a head read what the pool leaves of the tower's last norm."""
  model, params = build(pool=pool, rep_size=24, out_width=5)
  _, found = model.apply({"params": params}, image, method="embed_image", mutable="intermediates")
  encoded = found["intermediates"]["img"]["encoded"][0]
  assert encoded.shape == (3, 4 + (pool == "tok"), 32)
  p = params["img"]
  x = encoded[:, 0] if pool == "tok" else encoded.mean(1)
  x = np.tanh(x @ p["pre_logits"]["kernel"] + p["pre_logits"]["bias"][None])
  np.testing.assert_allclose(embed(model, params, image),
                             x @ p["head"]["kernel"] + p["head"]["bias"][None], atol=1e-5)
  assert ("cls" in p) == (pool == "tok")


def test_positions_of_sines_and_cosines():
  wanted = [[f(at / 10_000**(k / 7)) for at in (x, y) for f in (np.sin, np.cos) for k in range(8)]
            for y in range(3) for x in range(3)]
  np.testing.assert_allclose(vit.model.sincos2d(3, 32)[0], wanted, atol=1e-6)
  assert "pos_embedding" not in build(positions="sincos2d")[1]["img"]
  with pytest.raises(ValueError, match="a width that 4 divides"):
    vit.config("tiny", width=30, heads=2, positions="sincos2d")


def test_a_row_for_each_size_of_big_vision():
  count = lambda name: sum(np.prod(x.shape) for x in paligemma.param_shapes(
      paligemma.config(dict(variant=name))).values())
  # Millions, without a head: arXiv 2010.11929 (B to H), 2106.04560 (g, G), 2305.13035 (So400m).
  published = {"B/16": 86, "B/32": 87, "L/16": 303, "H/14": 631, "g/14": 1011, "G/14": 1843,
               "So400m/14": 412}
  assert {name: round(count(name) / 1e6) for name in published} == pytest.approx(published, rel=.01)
  assert {f"{s}/32" for s in ("mu", "Ti", "S", "M", "B", "L", "So400m", "H", "g", "g-opt", "G",
                              "G-opt", "e")} <= set(vit.VARIANTS)


def test_leaf_names_of_the_map_head():
  shapes = paligemma.param_shapes(paligemma.config(dict(variant="So400m/14", pool="map")))
  head, attention = "img/MAPHead_0", "img/MAPHead_0/MultiHeadDotProductAttention_0"
  assert {k: v.shape for k, v in shapes.items() if k.startswith(head)} == {
      f"{head}/probe": (1, 1, 1152),
      **{f"{attention}/{x}/kernel": (1152, 16, 72) for x in ("query", "key", "value")},
      **{f"{attention}/{x}/bias": (16, 72) for x in ("query", "key", "value")},
      f"{attention}/out/kernel": (16, 72, 1152), f"{attention}/out/bias": (1152,),
      f"{head}/LayerNorm_0/scale": (1152,), f"{head}/LayerNorm_0/bias": (1152,),
      f"{head}/MlpBlock_0/Dense_0/kernel": (1152, 4304), f"{head}/MlpBlock_0/Dense_0/bias": (4304,),
      f"{head}/MlpBlock_0/Dense_1/kernel": (4304, 1152),
      f"{head}/MlpBlock_0/Dense_1/bias": (1152,)}
  assert not any(k.startswith("img/head") for k in shapes)  # no decoder, no projection to its width


def test_a_tower_alone_has_no_decoder_and_no_head(image):
  model, params = build()
  assert set(params) == {"img"}
  assert embed(model, params, image).shape == (3, 4, 32)
  assert model.config.img.tokens == 4
  assert build(pool="map")[0].config.img.tokens == 1


def test_several_images_of_a_pooled_tower(image):
  model, params = build(pool="map")
  two = np.stack([image, image[::-1]], axis=1)  # [B, 2, H, W, 3]
  one = embed(model, params, image)
  np.testing.assert_allclose(
      embed(model, params, two), np.stack([one, one[::-1]], axis=1), atol=1e-5)


def test_pool_is_what_the_img_dict_says():
  config = paligemma.config(dict(variant="tiny"), dict(variant="tiny"))
  assert config.img.pool == "none" and config.img.out_width == 32
  assert vit.config("tiny", pool="map").pool == "map"


def test_a_connector_may_start_at_zero():
  config = paligemma.config(dict(variant="tiny", zero_head=True), dict(variant="tiny"))
  model = paligemma.PaliGemma(config)
  head = jax.jit(lambda: paligemma.init_params(model, jax.random.key(0)))()["img"]["head"]
  assert head["kernel"].size and not np.any(head["kernel"]) and not np.any(head["bias"])
