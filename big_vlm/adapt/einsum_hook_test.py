import jax.numpy as jnp

from big_vlm import trees
from big_vlm.adapt import einsum_hook, quantize
from big_vlm.families import paligemma


def test_every_weight_but_vectors_and_tables_of_positions_goes_through_the_hook():
  config = paligemma.config(dict(variant="So400m/14"), dict(variant="gemma2_9b"))
  found = einsum_hook.multiplying(paligemma.PaliGemma(config))
  rest = [n for n in paligemma.param_specs(config) if n not in found]
  assert {n.rpartition("/")[2] for n in rest} == {"scale", "bias", "pos_embedding"}
  kv = found["llm/layers/attn/kv_einsum/w"]
  assert (kv.weight, kv.ins, kv.outs, kv.side_by_side) == ("XKDH", "D", "KH", "X")
  assert kv.at(kv.ins) == (-2,) and kv.at(kv.outs) == (-3, -1) and kv.stacked
  table = found["llm/embedder/input_embedding"]
  assert (table.weight, table.ins, table.outs, table.stacked) == ("VD", "D", "V", False)


def test_replace_puts_wrappers_in_and_takes_them_out():
  wrapper = quantize.Quantized(jnp.zeros(2, jnp.int8), jnp.zeros(1), "float32")
  params = {"a": {"w": jnp.ones(2)}, "b": jnp.ones(3)}
  changed = einsum_hook.replace(params, {"a/w": wrapper})
  assert trees.names(changed) == ["a/w/q", "a/w/scale", "b"]
  assert list(einsum_hook.weights(changed)) == ["a/w", "b"]
  assert einsum_hook.weights(changed)["a/w"] is wrapper
  assert trees.names(einsum_hook.replace(changed, {"a/w": params["a"]["w"]})) == ["a/w", "b"]
