import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from big_vlm import sharding
from big_vlm.checkpoints import native

MODEL = dict(img=dict(variant="tiny"), llm=dict(variant="tiny"))


def state(value):
  return {"params": {"w": jnp.full((8, 4), value)}, "train": {"step": jnp.int32(value)}}


def like(mesh=None):
  shapes = jax.eval_shape(lambda: state(0.))
  mesh = mesh or sharding.make_mesh(devices=jax.devices()[:1])
  return native.with_sharding(
      shapes, sharding.tree_sharding(mesh, shapes, min_bytes=0, note=lambda line: None))


def test_newest_step_comes_back(tmp_path):
  with native.Checkpoints(tmp_path, keep=2) as checkpoints:
    assert checkpoints.latest() is None
    for step in (1, 2, 3):
      checkpoints.save(step, state(step))
  with native.Checkpoints(tmp_path) as checkpoints:
    assert checkpoints.latest() == 3
    restored = checkpoints.restore(3, like())
  assert restored["params"]["w"].tolist() == state(3)["params"]["w"].tolist()
  assert restored["train"]["step"] == 3
  assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["2", "3"]  # keep=2


def test_saved_on_one_device_restored_on_eight(tmp_path):
  with native.Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, state(5))
  with native.Checkpoints(tmp_path) as checkpoints:
    w = checkpoints.restore(1, like(sharding.make_mesh()))["params"]["w"]
  assert len(w.sharding.device_set) == 8 and w.addressable_shards[0].data.shape == (1, 4)
  np.testing.assert_array_equal(w, 5)


def test_a_half_written_step_is_not_there(tmp_path):
  with native.Checkpoints(tmp_path, keep=5) as checkpoints:
    checkpoints.save(1, state(1))
    checkpoints.save(2, state(2))
  folder = tmp_path / "checkpoints"
  (folder / "2").rename(folder / "2.orbax-checkpoint-tmp")  # as a kill inside of a save leaves it
  with native.Checkpoints(tmp_path) as checkpoints:
    assert checkpoints.latest() == 1
    checkpoints.save(2, state(7))  # and the name is free again
  with native.Checkpoints(tmp_path) as checkpoints:
    assert checkpoints.restore(2, like())["train"]["step"] == 7


def test_model_and_tokenizer_travel_with_the_folder(tmp_path, tokenizer):
  native.write_model(tmp_path, MODEL, tokenizer)
  moved = tmp_path.rename(tmp_path.with_name("moved"))
  folder, step, model, spec = native.read_model(moved)
  assert (str(folder), step, model) == (str(moved), None, MODEL)
  assert spec == f"sp(model='{moved}/tokenizer.model', tokensets=('loc', 'seg'))"
  assert native.read_model(moved / "checkpoints" / "12")[:2] == (folder, 12)


def test_a_model_without_a_tokenizer(tmp_path):
  native.write_model(tmp_path, MODEL, None)
  assert native.read_model(tmp_path)[2:] == (MODEL, None)
  assert [p.name for p in tmp_path.iterdir()] == ["model.json"]


def test_a_model_json_of_the_first_trainings_is_read(tmp_path):
  (tmp_path / "model.json").write_text(json.dumps(
      {"format": 1, "model": MODEL, "tokenizer": ["sp", {"tokensets": ["loc", "seg"]}]}))
  assert native.read_model(tmp_path)[3] == (
      f"sp(model='{tmp_path}/tokenizer.model', tokensets=('loc', 'seg'))")


def test_another_format_is_refused(tmp_path, tokenizer):
  native.write_model(tmp_path, MODEL, tokenizer)
  description = json.loads((tmp_path / "model.json").read_text())
  (tmp_path / "model.json").write_text(json.dumps(description | {"format": 99}))
  with pytest.raises(ValueError, match="has format 99; this version reads format 1"):
    native.read_model(tmp_path)
