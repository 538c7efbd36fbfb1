import ml_dtypes
import numpy as np
import pytest

from big_vlm.checkpoints import checkpoint, damage, load, save
from big_vlm.families import paligemma

CONFIG = paligemma.config(llm=dict(variant="tiny", depth=1))


@pytest.mark.parametrize("dtype", ["float16", "float32", ">f4", "float64", ml_dtypes.bfloat16])
@pytest.mark.parametrize("value", [2e4, -2e4, np.inf, np.nan])
def test_one_absurd_value_is_found(dtype, value):
  x = np.linspace(-9e3, 9e3, 24).reshape(2, 3, 4).astype(dtype)
  assert not damage.is_absurd(x) and not damage.is_absurd(x.T) and not damage.is_absurd(x[0, 0, 0])
  x[1, 2, 3] = value
  assert damage.is_absurd(x) and damage.is_absurd(x.T)
  assert not damage.is_absurd(np.array([30_000]))


def test_a_damaged_file_is_told_once(tmp_path, capsys):
  leaves = {name: checkpoint.from_array(np.ones(shape, np.float32))
            for name, shape in checkpoint.shapes(CONFIG).items()}
  source = checkpoint.Checkpoint("memory", CONFIG, leaves, None)
  save.save(source, tmp_path / "m", "hf")
  file = tmp_path / "m" / "model.safetensors"
  whole = file.read_bytes()
  for data, count in ((whole, 0), (whole[:-1] + b"\x7f", 1)):  # the exponent of the last weight
    file.write_bytes(data)
    capsys.readouterr()
    for leaf in load.open_source(tmp_path / "m").leaves.values():
      for _ in range(2):
        leaf.read(())
    assert capsys.readouterr().out.count(f"warning: {tmp_path / 'm'}: llm/") == count
