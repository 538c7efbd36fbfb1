import pathlib

import numpy as np
import pytest

from big_vlm.families import vqvae

GOLDEN = pathlib.Path(__file__).parents[2] / "tests/golden/vqvae.npz"  # by PyTorch: make_vqvae.py


@pytest.fixture(scope="module")
def golden():
  with np.load(GOLDEN) as file:
    return dict(file)


def write(path, golden, **changes):
  """A vae.npz of the golden parameters; a change of None leaves one out."""
  params = {k.removeprefix("params/"): v for k, v in golden.items() if k.startswith("params/")}
  params = {k: v for k, v in {**params, **changes}.items() if v is not None}
  np.savez(path / "vae.npz", **params)
  return path / "vae.npz"


@pytest.fixture
def params(tmp_path, golden):
  return vqvae.load(write(tmp_path, golden))


def test_masks_are_those_of_pytorch(params, golden):
  masks = vqvae.decode(params, golden["codes"])
  assert masks.dtype == np.float32
  np.testing.assert_allclose(masks, golden["decoded"], atol=1e-5)


def test_a_mask_does_not_depend_on_its_batch(params, golden):
  masks = vqvae.decode(params, golden["codes"][1:2])
  np.testing.assert_allclose(masks, golden["decoded"][1:2], atol=1e-5)


def test_moving_averages_of_the_training_are_passed_over(tmp_path, golden):
  path = write(tmp_path, golden, **{"_vq_vae._ema_w": np.zeros((32, 16))})
  assert "_vq_vae._ema_w" not in vqvae.load(path)


def test_all_that_is_wrong_with_a_file_is_named_at_once(tmp_path, golden):
  path = write(tmp_path, golden, **{
      "encoder.10.bias": None, "head": np.zeros(3), "decoder.4.bias": np.zeros(5),
      "decoder.6.weight": np.zeros((12, 8, 3, 3)), "encoder.0.weight": np.zeros((4, 1, 4, 3))})
  with pytest.raises(ValueError) as error:
    vqvae.load(path)
  for part in ("vae.npz", "missing encoder.10.bias", "unexpected head", "vae-oid.npz",
               "decoder.4.bias is [5], not [12]", "decoder.6.weight is [12, 8, 3, 3], not ",
               "encoder.0.weight is [4, 1, 4, 3], which is not square"):
    assert part in str(error.value)
  assert "encoder.2" not in str(error.value)


def test_pickles_are_refused(tmp_path, golden):
  path = write(tmp_path, golden, head=np.array([{}], dtype=object))
  with pytest.raises(ValueError, match="allow_pickle=False"):
    vqvae.load(path)


def test_wrong_shapes_are_refused(params):
  with pytest.raises(ValueError, match="16 codes"):
    vqvae.decode(params, np.zeros((1, 15), np.int32))
