import dataclasses

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from big_vlm import sharding, trees
from big_vlm.checkpoints import load, save
from big_vlm.checkpoints.checkpoint import Checkpoint, from_array
from big_vlm.families import paligemma

CONFIG = paligemma.config(dict(variant="tiny"), dict(variant="tiny"))


def make(config=CONFIG, path="memory", seed=0):
  rng = np.random.default_rng(seed)
  leaves = {n: from_array(rng.normal(size=x.shape).astype(np.float32))
            for n, x in paligemma.param_shapes(config).items()}
  return Checkpoint(path, config, leaves, None)


def change(part, **changes):
  changed = dataclasses.replace(getattr(CONFIG, part), **changes)
  return dataclasses.replace(CONFIG, **{part: changed})


def test_parameters_go_straight_to_their_shards():
  source, mesh = make(), sharding.make_mesh()  # 8 devices
  shapes = jax.eval_shape(
      lambda: paligemma.init_params(paligemma.PaliGemma(CONFIG), jax.random.key(0)))
  shardings = sharding.tree_sharding(mesh, shapes, min_bytes=0, note=lambda line: None)
  params = load.params(load.fit(source, CONFIG), shardings)
  linear = params["llm"]["layers"]["mlp"]["linear"]
  assert len({str(s.index) for s in linear.addressable_shards}) == 8
  for name, x in zip(trees.names(params), jax.tree.leaves(params)):
    np.testing.assert_array_equal(np.asarray(x), source.leaves[name].read(()))


def test_bfloat16_keeps_vectors_patches_and_positions_in_float32():
  dtypes = {name: load.dtype_of(name, "bfloat16") for name in paligemma.param_shapes(CONFIG)}
  kept = {n for n, d in dtypes.items() if d == np.float32}
  assert {"img/embedding/kernel", "img/pos_embedding", "llm/final_norm/scale"} <= kept
  assert dtypes["llm/embedder/input_embedding"] == dtypes["img/head/kernel"] == jnp.bfloat16
  assert set(map(load.dtype_of, dtypes, ["float32"] * len(dtypes))) == {np.dtype("float32")}


def test_positions_are_resampled_in_float32_whatever_the_dtype():
  source = make()
  grid = np.add.outer(np.arange(2.), 10 * np.arange(2.)).reshape(1, 4, 1)
  table = np.broadcast_to(grid, (1, 4, 32)).astype(ml_dtypes.bfloat16)
  source.leaves["img/pos_embedding"] = from_array(table)
  leaf = load.fit(source, change("img", image_size=24))["img/pos_embedding"]
  assert leaf.shape == (1, 9, 32) and leaf.dtype == np.float32
  want = np.add.outer([0, .5, 1], [0, 5, 10])  # linear, ends stay where they are
  np.testing.assert_allclose(leaf.read(())[0, :, 0].reshape(3, 3), want)


def test_vocabulary_rows_are_added_from_a_seed():
  source = make()
  bigger = change("llm", vocab_size=1128)
  table = load.fit(source, bigger)["llm/embedder/input_embedding"].read(())
  np.testing.assert_array_equal(
      table[:128], source.leaves["llm/embedder/input_embedding"].read(()))
  assert table.shape == (1128, 32) and abs(table[128:].std() - 0.02) < 1e-3
  again = load.fit(make(), bigger)["llm/embedder/input_embedding"].read((slice(500, 700),))
  np.testing.assert_array_equal(again, table[500:700])


def test_a_new_paligemma_from_a_siglip_and_a_gemma():
  siglip = make(paligemma.config(dict(variant="tiny", pool="map")), "siglip", 1)
  gemma = make(paligemma.config(llm=dict(variant="tiny")), "gemma", 2)
  leaves = load.parts({"img": siglip, "llm": gemma}, CONFIG)
  missing = set(paligemma.param_shapes(CONFIG)) - set(leaves)
  assert missing == {"img/head/kernel", "img/head/bias"}
  np.testing.assert_array_equal(leaves["img/pos_embedding"].read(()),
                                siglip.leaves["img/pos_embedding"].read(()))
  with pytest.raises(ValueError, match="gemma has no 'img' part; it is Gemma"):
    load.parts({"img": gemma}, CONFIG)


def test_training_starts_from_checkpoints(tmp_path, mesh1):
  siglip = make(paligemma.config(dict(variant="tiny", pool="map")), seed=1)
  gemma = make(paligemma.config(llm=dict(variant="tiny")), seed=2)
  save.save(siglip, tmp_path / "siglip.npz", "npz")
  save.save(gemma, tmp_path / "gemma", "hf")
  model = paligemma.PaliGemma(CONFIG)
  fresh = jax.jit(lambda: paligemma.init_params(model, jax.random.key(0)))()
  params = load.start_from({"model": "", "img": f"{tmp_path}/siglip.npz",
                            "llm": f"{tmp_path}/gemma"}, fresh, CONFIG)
  same = lambda a, b: np.array_equal(np.asarray(a), np.asarray(b))
  assert same(params["llm"]["final_norm"]["scale"], gemma.leaves["llm/final_norm/scale"].read(()))
  assert same(params["img"]["pos_embedding"], siglip.leaves["img/pos_embedding"].read(()))
  assert same(params["img"]["head"]["kernel"], fresh["img"]["head"]["kernel"])
  assert load.start_from({"model": "", "img": "", "llm": ""}, fresh, CONFIG) is fresh
  with pytest.raises(ValueError, match="both a whole model .* and {'img'}; give either"):
    load.start_from({"model": "a", "img": "b", "llm": ""}, fresh, CONFIG)
  with pytest.raises(ValueError, match="dont_load=.'img/.*',. leaves .*, and init names none"):
    load.start_from({"model": "", "dont_load": ("img/.*",)}, fresh, CONFIG)
  for pattern in ("[", 3):
    with pytest.raises(ValueError, match="init.dont_load has .*, which is no regex"):
      load.start_from({"img": f"{tmp_path}/siglip.npz", "dont_load": (pattern,)}, fresh, CONFIG)


def test_another_model_is_told_by_name_and_all_its_differences():
  config = paligemma.config(dict(variant="tiny"), dict(variant="tiny2"))
  with pytest.raises(ValueError) as e:
    load.fit(make(config, "folder"), CONFIG)
  for part in ("this is PaliGemma with Gemma 2 decoder",
               "you asked for PaliGemma with Gemma decoder", "of another shape",
               "unexpected: llm/layers/post_attention_norm/scale"):
    assert part in str(e.value)


def test_what_is_no_checkpoint_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match="no file or folder .*nowhere"):
    load.open_source(tmp_path / "nowhere")
  (tmp_path / "cat.txt").write_text("miaow")
  with pytest.raises(ValueError, match=r"is not a checkpoint that can be read.* Found: cat\.txt"):
    load.open_source(tmp_path)
