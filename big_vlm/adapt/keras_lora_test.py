"""Adapters of KerasHub, saved by it: tests/golden/make_keras_lora.py."""
import pathlib
import shutil

import h5py
import numpy as np
import pytest

import big_vlm

GOLDEN = pathlib.Path(__file__).parents[2] / "tests" / "golden"
FOLDER = GOLDEN / "keras_lora"


@pytest.mark.parametrize("name", ["gemma", "paligemma2", "gemma3"])
def test_kerashubs_logits_with_adapters(name, mesh1):
  data = dict(np.load(GOLDEN / f"keras_{name}" / "golden.npz"))
  base = big_vlm.from_preset(GOLDEN / f"keras_{name}", mesh=mesh1)
  vlm = base.load_adapter(FOLDER / f"{name}.lora.h5")
  ids, image = data["ids"], data.get("image")
  mask_ar = data["response"] if name == "paligemma2" else None
  got = vlm.logits(ids, image, mask_ar)
  # Rows without padding: logits() has no mask for it.
  full = data["padding"].all(axis=1)
  want = np.load(FOLDER / f"{name}.npz")["logits"][full]
  assert full.any() and np.abs(want).max() > 2
  np.testing.assert_allclose(got[full], want, atol=1e-4, rtol=0)
  if name == "gemma":
    np.testing.assert_allclose(vlm.merge_lora().logits(ids)[full], want, atol=1e-4, rtol=0)


def test_what_does_not_fit_is_named(tmp_path, mesh1):
  with pytest.raises(ValueError, match="(?s)lora.h5 .with query and value of rank 3 .*missing"):
    big_vlm.from_preset(GOLDEN / "keras_gemma2", mesh=mesh1).load_adapter(FOLDER / "gemma.lora.h5")
  opt = big_vlm.from_preset(GOLDEN / "keras_opt", mesh=mesh1)
  with pytest.raises(ValueError, match="are read for Gemma and PaliGemma"):
    opt.load_adapter(FOLDER / "gemma.lora.h5")
  shutil.copy(FOLDER / "gemma.lora.h5", file := tmp_path / "nan.lora.h5")
  with h5py.File(file, "r+") as opened:
    opened["lora/8/vars/lora_kernel_b"][...] = np.nan
  with pytest.raises(ValueError, match="layer 8 holds values that are not finite"):
    big_vlm.from_preset(GOLDEN / "keras_gemma", mesh=mesh1).load_adapter(file)
