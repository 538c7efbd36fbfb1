"""A work folder that big_vision wrote (tests/golden/bv): its numbers."""
import json
import pathlib
import shutil
import zipfile

import numpy as np
import pytest

import big_vlm
from big_vlm import presets
from big_vlm.checkpoints import load, uris

GOLDEN = pathlib.Path(__file__).parents[2] / "tests" / "golden" / "bv"


@pytest.fixture
def workdir(tmp_path):
  zipfile.ZipFile(GOLDEN / "checkpoint.zip").extractall(tmp_path)
  return tmp_path


def opened(source):
  return load.open_source(uris.fetch(presets.uri(source)))


def test_logits_are_those_of_big_vision(workdir, mesh1):
  golden = np.load(GOLDEN / "logits.npz")
  vlm = big_vlm.from_preset(f"{workdir}/checkpoint.bv", mesh=mesh1)
  got = vlm.logits(golden["text"], golden["image"], golden["mask_ar"])
  assert np.abs(golden["logits"]).max() > 5
  np.testing.assert_allclose(got, golden["logits"], rtol=0, atol=1e-4)


def test_steps_and_parts(workdir):
  new, old = (opened(f"{workdir}/checkpoint.bv{s}") for s in ("-LAST", "-000000002"))
  for name, leaf in new.leaves.items():
    np.testing.assert_array_equal(leaf.read(()), 2 * old.leaves[name].read(()))
  tower = opened(f"{workdir}/checkpoint.bv:img")
  assert tower.config.llm is None and len(tower.leaves) == 23
  kernel = new.leaves["img/Transformer/encoderblock/MlpBlock_0/Dense_0/kernel"]
  np.testing.assert_array_equal(kernel.read((1, slice(3))), kernel.read(())[1, :3])


def test_damage_is_named(workdir):
  step = workdir / "checkpoint.bv-000000003-tmp"
  array = step / "params~llm~final_norm~scale"
  chunk = array / "0"
  data = chunk.read_bytes()
  chunk.write_bytes(data[:-9])
  with pytest.raises(ValueError, match="final_norm~scale is damaged"):
    opened(step).leaves["llm/final_norm/scale"].read(())
  chunk.unlink()
  with pytest.raises(ValueError, match="final_norm~scale lacks its chunk 0"):
    opened(step)
  (array / ".zarray").write_text("{}")
  with pytest.raises(ValueError, match="final_norm~scale cannot be opened"):
    opened(step)
  shutil.rmtree(array)
  with pytest.raises(ValueError, match="final_norm/scale"):
    load.fit(opened(step), opened(step).config)
  shutil.rmtree(step)
  with pytest.raises(FileNotFoundError, match="LAST names the step 000000003-tmp"):
    opened(f"{workdir}/checkpoint.bv")
  (workdir / "checkpoint.bv-LAST").write_text("../../x")
  with pytest.raises(ValueError, match="LAST is damaged"):
    opened(f"{workdir}/checkpoint.bv")


@pytest.mark.parametrize("changed,message", [
    ({"shape": [10**9, 32], "chunks": [1, 32]}, "would grow from 8,002 to 128,000,000,000 bytes"),
    ({"chunks": [10**12, 32]}, "would grow"), ({"dtype": ">f4"}, "dtype is >f4, not <f4"),
    ({"dtype": "|O"}, "dtype"), ({"order": "F"}, "order is F"), ({"fill_value": 1}, "fill_value"),
    ({"dimension_separator": "/../"}, "cannot be opened"), ({"shape": [1] * 5000}, "cannot be"),
])
def test_an_array_is_as_big_vision_writes_it(workdir, changed, message):
  file = workdir / "checkpoint.bv-000000002/params~llm~embedder~input_embedding/.zarray"
  file.write_text(json.dumps(json.loads(file.read_text()) | changed))
  with pytest.raises(ValueError, match=f"array params~llm~embedder~input_embedding .*{message}"):
    opened(f"{workdir}/checkpoint.bv-000000002")


def test_links_lead_nowhere_else(workdir):
  step = workdir / "checkpoint.bv-000000002"
  chunk = step / "params~llm~final_norm~scale/0"
  chunk.unlink()
  chunk.symlink_to("/dev/zero")
  with pytest.raises(ValueError, match="scale: the file name '0' leads outside of this folder"):
    opened(step)
  chunk.parent.rename(workdir / "elsewhere")
  chunk.parent.symlink_to(workdir / "elsewhere")
  with pytest.raises(ValueError, match="scale/.zarray' leads outside of this folder"):
    opened(step)
