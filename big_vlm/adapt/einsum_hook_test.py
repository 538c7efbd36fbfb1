import jax
import jax.numpy as jnp
import pytest

from big_vlm import trees
from big_vlm.adapt import einsum_hook
from big_vlm.families import paligemma


def model(img=None, llm=None):
  return paligemma.PaliGemma(paligemma.config(img, llm))


TINY = dict(img={"variant": "tiny"}, llm={"variant": "tiny"})


def test_axes_of_a_product():
  p = einsum_hook.EinsumSpec("BTD,XNDH->BTXNH")  # keys and values of all heads
  assert (p.weight, p.ins, p.outs, p.stack) == ("XNDH", "D", "NH", "X")
  assert p.axes(p.ins) == (-2,) and p.axes(p.outs) == (-3, -1)
  assert p.layers(jnp.zeros((18, 2, 8, 32, 16))) == (18,)
  p = einsum_hook.EinsumSpec("BTNH,NHD->BTD")
  assert (p.ins, p.outs, p.stack) == ("NH", "D", "")
  p = einsum_hook.EinsumSpec("...D,VD->...V")  # an embedding table as head
  assert (p.ins, p.outs, p.layers(jnp.zeros((10, 4)))) == ("D", "V", ())


@pytest.mark.parametrize("parts, some", [
    (TINY, {"llm/layers/attn/kv_einsum/w": "BTD,XKDH->BTXKH",
            "llm/layers/mlp/gating_einsum": "BTD,XDF->BTXF",
            "llm/embedder/input_embedding": "...D,VD->...V",
            "img/head/kernel": "...D,DE->...E",
            "img/embedding/kernel": "Bhpwqc,pqcD->BhwD"}),
    (dict(llm={"variant": "tiny", "kv_heads": 4}),
     {"llm/layers/attn/qkv_einsum/w": "BTD,XNDH->BTXNH"}),
    (dict(llm={"variant": "opt_tiny"}), {"llm/layers/mlp/Dense_0/kernel": "BTD,DF->BTF"}),
    (dict(img={"variant": "tiny", "pool": "map"}),
     {"img/MAPHead_0/MultiHeadDotProductAttention_0/out/kernel": "BLNH,NHD->BLD"})])
def test_products_of_models_and_of_their_parts(parts, some):
  found = einsum_hook.products(model(**parts))
  assert {n: found[n].eqn for n in some} == some
  assert all(name.startswith(tuple(parts)) for name in found)


def test_every_weight_but_vectors_and_tables_of_positions_goes_through_the_seam():
  big = model(dict(variant="So400m/14"), dict(variant="gemma2_9b"))  # nothing is computed
  shapes = jax.eval_shape(lambda: paligemma.init_params(big, jax.random.key(0)))
  rest = [n for n in trees.names(shapes) if n not in einsum_hook.products(big)]
  assert {n.rpartition("/")[2] for n in rest} == {"scale", "bias", "pos_embedding"}


def test_replace_puts_nodes_in_and_takes_them_out():
  probe = einsum_hook.EinsumRecorder(jnp.zeros(2), note=None)
  params = {"a": {"w": jnp.ones(2)}, "b": jnp.ones(3)}
  changed = einsum_hook.replace(params, {"a/w": probe})
  assert trees.names(changed) == ["a/w/array", "b"]
  assert list(einsum_hook.weights(changed)) == ["a/w", "b"]
  assert einsum_hook.weights(changed)["a/w"] is probe
  assert trees.names(einsum_hook.replace(changed, {"a/w": params["a"]["w"]})) == ["a/w", "b"]
