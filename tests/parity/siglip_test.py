"""SigLIP's two towers beside transformers and KerasHub, which open what we write."""
import dataclasses
import pathlib

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="`make parity` runs these tests in their own venv")
transformers = pytest.importorskip("transformers")

from big_vlm.checkpoints import hf, keras  # noqa: E402
from big_vlm.checkpoints.hf_test import tree  # noqa: E402
from big_vlm.families.siglip.towers_test import embed  # noqa: E402

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
CLOSE = dict(rtol=0, atol=1e-4)
CLASSES = {"hf_siglip_pair": transformers.SiglipModel, "hf_siglip2": transformers.SiglipModel,
           "hf_siglip2_naflex": transformers.Siglip2Model}


def silent(done, total):
  pass


@pytest.mark.parametrize("name", CLASSES)
def test_transformers_opens_the_folder_and_gives_our_numbers(name, tmp_path):
  source, golden = hf.open_source(GOLDEN / name), np.load(GOLDEN / name / "pair.npz")
  hf.write(tmp_path, source, silent)
  model, info = CLASSES[name].from_pretrained(
      tmp_path, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
  assert {k: v for k, v in info.items() if v} == {}
  ids = np.random.default_rng(5).integers(2, 60, golden["ids"].shape).astype(np.int32)
  if "grid" in golden:
    image = golden["patches"], golden["grid"]
    mask = np.arange(image[0].shape[1]) < golden["grid"].prod(1)[:, None]
    inputs = dict(pixel_values=torch.tensor(image[0]), spatial_shapes=torch.tensor(image[1]),
                  pixel_attention_mask=torch.tensor(mask.astype(np.int32)))
  else:
    image = np.random.default_rng(6).uniform(-1, 1, golden["image"].shape).astype(np.float32), None
    inputs = dict(pixel_values=torch.tensor(image[0]).permute(0, 3, 1, 2))
  with torch.no_grad():
    out = model.eval()(input_ids=torch.tensor(ids), **inputs)
  zt, zi = map(np.asarray, embed(source.config, tree(source.leaves), ids, *image))
  np.testing.assert_allclose(zi, out.image_embeds.numpy(), **CLOSE)
  np.testing.assert_allclose(zt, out.text_embeds.numpy(), **CLOSE)


def test_kerashub_opens_the_preset_and_gives_our_logits(tmp_path):
  keras_hub = pytest.importorskip("keras_hub")
  source, golden = hf.open_source(GOLDEN / "hf_siglip2"), np.load(
      GOLDEN / "hf_siglip2" / "pair.npz")
  # KerasHub's files do not say how texts are padded, and only a vocabulary of 256,000 pads with 0.
  txt = dataclasses.replace(source.config.txt, pad_token=1)
  source = dataclasses.replace(source, config=dataclasses.replace(source.config, txt=txt))
  keras.write(tmp_path, source, silent)
  model = keras_hub.models.SigLIPBackbone.from_preset(str(tmp_path))
  with jax.numpy_rank_promotion("allow"):  # Keras' layers need it
    out = model({"images": golden["image"], "token_ids": golden["ids"]})
  np.testing.assert_allclose(np.asarray(out["vision_logits"]), golden["logits"], **CLOSE)
