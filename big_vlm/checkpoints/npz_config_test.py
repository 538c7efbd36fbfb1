import pytest

from big_vlm import presets
from big_vlm.checkpoints import npz
from big_vlm.families import paligemma


@pytest.mark.parametrize("name", [
    "pali_gemma_3b_224", "pali_gemma_3b_896", "pali_gemma2_pt_3b_448", "pali_gemma2_pt_10b_224",
    "pali_gemma2_pt_28b_896", "gemma_2b_en", "gemma_7b_en", "gemma2_2b_en", "gemma2_9b_en",
    "gemma2_27b_en", "vault_gemma_1b_en", "opt_125m_en", "google/siglip-so400m-patch14-384",
    "google/siglip-base-patch16-224", "siglip2_b32_256", "siglip2_g-opt16_384",
    "webli_i18n_so400m_16_256_78061115", "webli_en_so400m_224_57633886",
    "google/medsiglip-448"])
def test_released_models_are_told_from_their_shapes(name):
  config = paligemma.config(**presets.resolve(name).config)
  shapes = {n: x.shape for n, x in paligemma.param_shapes(config).items()}
  assert npz.config_from_shapes(shapes, "x") == config
