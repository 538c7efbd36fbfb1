"""The declarations of all families against the modules that they declare."""
import jax
import jax.numpy as jnp
import pytest

from big_vlm import families, trees
from big_vlm.families import paligemma

CASES = {
    **{f"llm {name}": dict(llm={"variant": name}) for name in families.DECODER_VARIANTS},
    **{f"img {name}": dict(img={"variant": name}) for name in families.TOWER_VARIANTS},
    **{f"txt {name}": dict(txt={"variant": name}) for name in families.TEXT_VARIANTS},
    "two towers": dict(img={"variant": "tiny"}, txt={"variant": "text_tiny", "width": 16}),
    "NaFlex": dict(img={"variant": "tiny", "pool": "map", "naflex": True}),
    "no text head": dict(txt={"variant": "text_tiny", "out_width": None}),
    "pooled": dict(img={"variant": "tiny", "pool": "map", "out_width": 8}),
    "odd size": dict(img={"variant": "tiny", "image_size": 30}, llm={"variant": "tiny2"}),
    "one matrix": dict(llm={"variant": "tiny", "kv_heads": 4}),
    "qk_norm": dict(llm={"variant": "tiny", "qk_norm": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_declaration_is_the_names_and_shapes_of_the_module(case):
  config = paligemma.config(**CASES[case])
  shapes = jax.eval_shape(
      lambda: paligemma.init_params(paligemma.PaliGemma(config), jax.random.key(0)))
  made = dict(zip(trees.names(shapes), jax.tree.leaves(shapes)))
  declared = paligemma.param_shapes(config)
  assert {n: x.shape for n, x in declared.items()} == {n: x.shape for n, x in made.items()}
  assert list(declared) == list(made)


class Recorder:
  """Stands in for a weight and notes the equations it is multiplied by."""

  def __init__(self, array, note):
    self.array, self.note = array, note

  def einsum(self, eqn, x, dtype):
    self.note.append(eqn)
    return jnp.einsum(eqn, x, self.array.astype(x.dtype), preferred_element_type=dtype)

  def lookup(self, ids):
    return self.array[ids]

  def __getitem__(self, index):
    return self.array[index]

  def __jax_array__(self):
    return self.array

  def __getattr__(self, name):
    return getattr(self.array, name)


jax.tree_util.register_pytree_node(
    Recorder, lambda r: ((r.array,), r.note), lambda note, arrays: Recorder(arrays[0], note))


@pytest.mark.parametrize("case", CASES)
def test_weights_multiply_as_declared_and_nothing_else_does(case):
  config = paligemma.config(**CASES[case])
  model, specs = paligemma.PaliGemma(config), paligemma.param_specs(config)
  notes = {name: [] for name in specs}

  def run(params):
    variables = {"params": params}
    image, grid = paligemma.example_image(config.img) if config.img else (None, None)
    if config.llm is None:
      text = config.txt and jnp.zeros((1, config.txt.length), jnp.int32)
      return model.apply(variables, text, image, grid, method="towers")
    text = jnp.zeros((1, 2), jnp.int32)
    hidden = model.apply(variables, text, text, image)
    return model.apply(variables, hidden, method="logits")

  shapes = trees.nested(paligemma.param_shapes(config))
  jax.eval_shape(run, trees.map_with_names(lambda n, x: Recorder(x, notes[n]), shapes))
  for name, spec in specs.items():
    assert bool(notes[name]) == spec.traits.multiplies, name
    for eqn in notes[name]:
      weight, output = eqn.split(",")[1].split("->")
      assert weight == spec.weight, name
      assert "".join(c for c in weight if c not in output) == spec.ins, name


def test_a_name_means_the_same_leaf_in_all_families():
  width = lambda axes: axes and axes.replace("E", "D")  # OPT-350m's table is narrower than a layer
  said = lambda spec: (width(spec.axes), spec.role, width(spec.ins))
  for family, prefix in families.PREFIXES.items():
    for name, spec in family.PARAMS.items():
      assert said(families.PARAMS[prefix + name]) == said(spec), name


def test_locate_finds_the_parameter_of_any_leaf():
  at = lambda name: (found := families.locate(name)) and (found[0], found[2])
  assert at("opt_state/0/mu/llm/final_norm/scale") == ("llm/final_norm/scale", "")
  assert at("params/llm/layers/mlp/linear/base/q") == ("llm/layers/mlp/linear", "base/q")
  assert at("llm/layers/attn/q_einsum/w/lora_a") == ("llm/layers/attn/q_einsum/w", "lora_a")
  assert at("opt_state/0/mu/b") == ("b", "")
  assert at("opt_state/0/count") is None and at("llm/layers/mlp") is None
  with pytest.raises(ValueError, match="'llm/layers/mlp/liner'. Did you mean 'llm/layers/mlp/lin"):
    families.param("llm/layers/mlp/liner")


@pytest.mark.parametrize("name, decays, float32, tensor, muon", [
    ("llm/layers/attn/q_einsum/w", 1, False, -3, ((2,), (1, 3))),
    ("llm/layers/attn/kv_einsum/w", 1, False, -3, ((3,), (2, 4))),
    ("llm/layers/attn/attn_vec_einsum/w", 1, False, -3, ((1, 2), (3,))),
    ("llm/layers/mlp/gating_einsum", 1, False, -1, ((2,), (3,))),
    ("llm/layers/mlp/linear", 1, False, -2, ((1,), (2,))),
    ("llm/layers/attn/query/kernel", 1, False, -2, ((1,), (2, 3))),  # OPT
    ("llm/layers/attn/out/kernel", 1, False, -3, ((1, 2), (3,))),
    ("llm/layers/mlp/Dense_0/kernel", 1, False, -1, ((1,), (2,))),
    ("llm/layers/mlp/Dense_0/bias", 0, True, None, None),
    ("llm/embedder/input_embedding", 1, False, -2, None),
    ("llm/embedder/pos_embedding", 0, True, None, None),
    ("llm/final_norm/scale", 0, True, None, None),
    ("img/embedding/kernel", 1, True, None, None),
    ("img/Transformer/encoderblock/MlpBlock_0/Dense_1/kernel", 1, False, -2, ((1,), (2,))),
    ("img/MAPHead_0/MlpBlock_0/Dense_1/kernel", 1, False, -2, None),
    ("img/MAPHead_0/probe", 1, True, None, None),
    ("img/head/kernel", 1, False, None, None),
    ("txt/Embed_0/embedding", 0, False, None, None), ("t", 0, True, None, None),
    ("txt/Encoder_0/encoderblock/MlpBlock_0/Dense_0/kernel", 1, False, -1, ((1,), (2,)))])
def test_what_follows_from_a_declaration(name, decays, float32, tensor, muon):
  spec = families.PARAMS[name]
  assert families.weight_decay(name) == decays and families.stays_float32(name) == float32
  assert (spec.tensor_axis, spec.matrix_axes) == (tensor, muon)


@pytest.mark.parametrize("llm", ["tiny2", "opt_tiny"])
def test_the_backward_pass_goes_from_the_loss_to_the_pixels(llm):
  names = paligemma.param_specs(
      paligemma.config({"variant": "tiny", "pool": "map"}, {"variant": llm}))
  order = sorted(names, key=families.backward_order)
  at = lambda start: [i for i, n in enumerate(order) if n.startswith(start)]
  stages = [at(start) for start in (
      "llm/final_norm", "llm/layers", "llm/embedder", "img/head", "img/MAPHead_0",
      "img/Transformer/encoder_norm", "img/Transformer/encoderblock", "img/pos_embedding",
      "img/embedding")]
  assert sum(stages, []) == list(range(len(names)))


def test_the_logits_scale_and_bias_come_before_the_towers():
  names = paligemma.param_specs(paligemma.config(
      {"variant": "tiny"}, txt={"variant": "text_tiny"}))
  order = sorted(names, key=families.backward_order)
  assert order[:2] == ["b", "t"] and order[-1] == "img/embedding/kernel"
  assert families.leaf_name("opt_state/0/mu/t") == "t" and families.leaf_name("count") is None


def test_of_finds_the_family_of_a_config():
  config = paligemma.config({"variant": "tiny"}, {"variant": "opt_tiny"})
  assert families.of(config.llm) is families.opt and families.of(config.img) is families.siglip
