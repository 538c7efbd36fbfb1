import shutil

import ml_dtypes
import numpy as np
import pytest

from big_vlm.checkpoints import load, npz
from big_vlm.checkpoints.checkpoint import Checkpoint, from_array
from big_vlm.families import paligemma
from big_vlm.formats import npz as npz_format

CONFIG = paligemma.config(dict(variant="tiny"), dict(variant="tiny"))


def arrays(config=CONFIG, dtype=np.float32):
  rng = np.random.default_rng(0)
  return {n: rng.normal(size=x.shape).astype(dtype)
          for n, x in paligemma.param_shapes(config).items()}


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("prefix", ["params/", "opt/target/", ""])
def test_files_of_numpy_read_bit_for_bit(tmp_path, dtype, prefix):
  want = arrays(dtype=dtype)
  np.savez(tmp_path / "x.npz", **{prefix + n: x for n, x in want.items()})  # bfloat16 as void
  source = npz.open_source(tmp_path / "x.npz")
  assert source.config == CONFIG
  assert set(source.leaves) == set(want)
  for name, x in want.items():
    assert source.leaves[name].dtype == dtype
    np.testing.assert_array_equal(source.leaves[name].read(()), x)
  np.testing.assert_array_equal(source.leaves["llm/layers/mlp/linear"].read((1, slice(3))),
                                want["llm/layers/mlp/linear"][1, :3])


def test_compressed_files_and_subtrees(tmp_path):
  want = arrays()
  np.savez_compressed(tmp_path / "x.npz", **{f"params/model/{n}": x for n, x in want.items()})
  source = npz.open_source(f"{tmp_path}/x.npz:model")
  np.testing.assert_array_equal(source.leaves["img/head/bias"].read(()), want["img/head/bias"])
  with pytest.raises(ValueError, match="nothing under 'teacher'"):
    npz.open_source(f"{tmp_path}/x.npz:teacher")


SIGLIP = dict(img=dict(variant="tiny", pool="map"), txt=dict(variant="text_tiny", depth=3))


@pytest.mark.parametrize("siglip2", [False, True])  # the released files of SigLIP 2 are stacked
def test_two_towers(tmp_path, siglip2):
  more = dict(vocab_size=256_000, width=2, heads=1, pad_token=0) if siglip2 else {}
  config = paligemma.config(**SIGLIP | dict(txt=SIGLIP["txt"] | more))
  want = arrays(config)
  source = Checkpoint("x", config, {n: from_array(x) for n, x in want.items()}, None)
  npz.write(tmp_path / "x.npz", source, lambda done, total: None)
  shutil.rmtree(tmp_path / "x.model")  # told from shapes, as the released files
  names = {n.removeprefix("params/") for n in np.load(tmp_path / "x.npz")}
  assert ("txt/Encoder_0/encoderblock_2/LayerNorm_0/bias" in names) == (not siglip2)
  assert {"t", "b", "img/MAPHead_0/probe", "txt/Embed_0/embedding", "txt/head/kernel"} <= names
  opened = npz.open_source(tmp_path / "x.npz")
  assert opened.config == config and opened.text_len == 8
  for name, x in want.items():
    np.testing.assert_array_equal(opened.leaves[name].read(()), x)
  for part, mark in ("img", "MAPHead_0/probe"), ("txt", "head/bias"):
    alone = npz.open_source(f"{tmp_path}/x.npz:{part}")
    assert set(alone.config.parts) == {f"{part}/"} and f"{part}/{mark}" in alone.leaves


def test_a_class_token_with_a_position_as_before_2022(tmp_path):
  config = paligemma.config(dict(variant="tiny", pool="tok", rep_size=24, out_width=5))
  want = arrays(config)
  row = np.full((1, 1, 32), .5, np.float32)
  old = want | {"img/pos_embedding": np.concatenate([row, want["img/pos_embedding"]], axis=1),
                "img/cls": want["img/cls"] - row}
  np.savez(tmp_path / "x.npz", **{f"opt/target/{n.removeprefix('img/')}": x
                                  for n, x in old.items()})
  opened = npz.open_source(tmp_path / "x.npz")
  assert opened.config == config
  for name, x in want.items():
    np.testing.assert_allclose(opened.leaves[name].read(()), x, atol=1e-6)
  with pytest.raises(ValueError, match=r"class token, img/cls, .*pool='tok', .*=\('img/cls',\)"):
    load.parts({"img": opened}, CONFIG)
  with pytest.raises(ValueError, match=r"img/head/bias \[5\], not \[32\]"):
    load.parts({"img": opened}, CONFIG, ["img/cls"])
  tower = load.parts({"img": opened}, CONFIG, ["img/cls", "img/head/.*"])
  assert not {"img/cls", "img/pre_logits/kernel", "img/head/kernel"} & set(tower)


def test_a_naflex_tower_is_flat_in_the_file(tmp_path):
  config = paligemma.config(img=dict(variant="tiny", pool="map", naflex=True, image_size=24))
  want = arrays(config)
  source = Checkpoint("x", config, {n: from_array(x) for n, x in want.items()}, None)
  npz.write(tmp_path / "x.npz", source, lambda done, total: None)
  again = npz.open_source(tmp_path / "x.npz")
  shutil.rmtree(tmp_path / "x.model")
  opened = npz.open_source(tmp_path / "x.npz")
  stored = np.load(tmp_path / "x.npz")
  assert stored["params/img/embedding/kernel"].shape == (8 * 8 * 3, 32)
  assert stored["params/img/pos_embedding"].shape == (3, 3, 32)
  for found in (again, opened):
    assert found.config == config
    for name, x in want.items():
      np.testing.assert_array_equal(found.leaves[name].read(()), x)


def test_unstacked_blocks_are_stacked(tmp_path):
  want, flat = arrays(), {}
  for name, x in want.items():
    if "/encoderblock/" in name:
      flat |= {name.replace("encoderblock", f"encoderblock_{i}"): y for i, y in enumerate(x)}
    else:
      flat[name] = x
  np.savez(tmp_path / "x.npz", **flat)
  leaves = npz.open_source(tmp_path / "x.npz").leaves
  for name, x in want.items():
    np.testing.assert_array_equal(leaves[name].read(()), x)


@pytest.mark.parametrize("llm", ["tiny", "tiny2", "gemma3_tiny", "opt_tiny"])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_written_files_read_back_and_numpy_reads_them(tmp_path, llm, dtype):
  config = paligemma.config(dict(variant="tiny"), dict(variant=llm))
  want = arrays(config, dtype)
  source = Checkpoint("x", config, {n: from_array(x) for n, x in want.items()}, None)
  seen = []
  npz.write(tmp_path / "y.npz", source, lambda done, total: seen.append(done / total))
  assert seen[-1] == 1
  back = npz.open_source(tmp_path / "y.npz")
  assert back.config == config  # also what shapes do not tell, such as tiny2's window
  by_numpy = np.load(tmp_path / "y.npz")
  for name, x in want.items():
    np.testing.assert_array_equal(back.leaves[name].read(()), x)
    np.testing.assert_array_equal(by_numpy[f"params/{name}"].view(dtype), x)


def test_corrupt_files_name_file_and_leaf(tmp_path):
  file = tmp_path / "x.npz"
  np.savez(file, **arrays())
  data = file.read_bytes()
  file.write_bytes(data[:len(data) // 2])
  with pytest.raises(ValueError, match=r"x\.npz \([\d,]+ bytes\) is not a complete .npz file"):
    npz.open_source(file)
  at = data.index(b"llm/embedder/input_embedding") + 2000
  file.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])
  with pytest.raises(ValueError, match="x.npz: llm/embedder/input_embedding is corrupt"):
    npz.open_source(file).leaves["llm/embedder/input_embedding"].read(())


def test_objects_and_other_models_are_refused(tmp_path):
  np.savez(tmp_path / "o.npz", a=np.array([{}], object))
  with pytest.raises(ValueError, match="holds Python objects"):
    npz.open_source(tmp_path / "o.npz")
  np.savez(tmp_path / "m.npz", resnet=np.zeros(3))
  with pytest.raises(ValueError, match="holds neither a vision tower .* Found: resnet"):
    npz.open_source(tmp_path / "m.npz")
  half = arrays()
  del half["llm/layers/attn/q_einsum/w"]
  np.savez(tmp_path / "h.npz", **half)
  with pytest.raises(ValueError, match="'llm/layers/attn/q_einsum/w' is missing"):
    npz.open_source(tmp_path / "h.npz")


def test_a_file_with_millions_of_members_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(npz_format, "MAX_DIRECTORY", 500)
  np.savez(tmp_path / "m.npz", **{str(i): np.zeros(1) for i in range(20)})
  with pytest.raises(ValueError, match="m.npz: its list of arrays has 1,0[0-9]{2} bytes"):
    npz.open_source(tmp_path / "m.npz")
