"""Writes tests/golden/hf_siglip2*: small random two-tower models of transformers, with numbers.

  .venv-parity/bin/python tests/golden/make_siglip.py   with the packages of requirements-parity.txt

Each folder is what save_pretrained wrote (that of hf_siglip_pair is make_hf.py's), with pair.npz:

  ids int32 [B, T], image float32 [B, H, W, 3]   inputs; of NaFlex patches [B, P, D] and grid [B, 2]
  pixels_N uint8 [H, W, 3]                       of NaFlex: the images that patches are of
  image_embeds, text_embeds float32 [B, D]       of length 1
  logits float32 [B images, B texts]

naflex_grids.npz: sizes int32 [60, 4], height, width, patch, most patches, and grids [60, 2].
"""
import numpy as np
import torch
import transformers
from make_hf import HERE, make, save
from transformers.models.siglip2.image_processing_pil_siglip2 import (
  Siglip2ImageProcessorPil,
  get_image_size_for_max_num_patches,
)

VISION = dict(hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
              patch_size=4)
# Narrower than the image tower, as that of g-opt.
TEXT = dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2,
            vocab_size=300, max_position_embeddings=8, projection_size=32, pad_token_id=0)
SIZES = [(16, 16), (40, 12), (9, 60)]  # of the NaFlex images
PATCHES = 24


def texts(count, vocab_size, length):
  rng = np.random.default_rng(length)
  ids = np.zeros((count, length), np.int32)
  for i, row in enumerate(ids):
    n = (2, length, 5)[i % 3]
    row[:n] = [*rng.integers(4, vocab_size, n - 1), 1]
  return ids


def numbers(model, ids, **image):
  with torch.no_grad():
    out = model(input_ids=torch.tensor(ids), **image)
  return dict(ids=ids, image_embeds=out.image_embeds.numpy(), text_embeds=out.text_embeds.numpy(),
              logits=out.logits_per_image.numpy())


def learned(model):
  """exp(t) and b of about the released values: fresh ones are 1 and 0."""
  with torch.no_grad():
    model.logit_scale.fill_(2.2)
    model.logit_bias.fill_(-5.5)
  return model


def fixed(folder, model, side):
  image = np.random.default_rng(side).uniform(-1, 1, (3, side, side, 3)).astype(np.float32)
  text = model.config.text_config
  ids = texts(3, text.vocab_size, text.max_position_embeddings)
  pixels = torch.tensor(image).permute(0, 3, 1, 2)
  np.savez(folder / "pair.npz", image=image, **numbers(model, ids, pixel_values=pixels))


def naflex(folder, model):
  rng = np.random.default_rng(3)
  pixels = [rng.integers(0, 256, (*size, 3)).astype(np.uint8) for size in SIZES]
  processor = Siglip2ImageProcessorPil(patch_size=4, max_num_patches=PATCHES)
  batch = processor(images=pixels, return_tensors="pt")
  text = model.config.text_config
  found = numbers(model, texts(3, text.vocab_size, text.max_position_embeddings), **batch)
  np.savez(folder / "pair.npz", patches=batch["pixel_values"].numpy(),
           grid=batch["spatial_shapes"].numpy().astype(np.int32), **found,
           **{f"pixels_{i}": x for i, x in enumerate(pixels)})


def grids():
  rng, patches = np.random.default_rng(0), (64, 144, 256, 576, 1024)
  odd = [(1, 1), (1, 5000), (5000, 1), (16, 16), (224, 224), (480, 640), (4032, 3024), (17, 16),
         (33, 1000), (100, 3001)]
  odd += [tuple(np.exp(rng.uniform(0, 8.5, 2)).astype(int)) for _ in range(50)]
  sizes = [(*size, (14, 16, 32)[i % 3], patches[i % 5]) for i, size in enumerate(odd)]
  found = [np.array(get_image_size_for_max_num_patches(int(h), int(w), p, n)) // p
           for h, w, p, n in sizes]
  np.savez(HERE / "naflex_grids.npz", sizes=np.array(sizes, np.int32),
           grids=np.array(found, np.int32))


def main():
  transformers.logging.set_verbosity_error()
  pair = transformers.SiglipModel.from_pretrained(HERE / "hf_siglip_pair", dtype=torch.float32,
                                                  attn_implementation="eager")
  fixed(HERE / "hf_siglip_pair", pair.eval(), 14)
  model = learned(make(transformers.SiglipModel, transformers.SiglipConfig(
      text_config=TEXT, vision_config=VISION | dict(image_size=14)), 21))
  fixed(save(model, "hf_siglip2"), model, 14)
  model = learned(make(transformers.Siglip2Model, transformers.Siglip2Config(
      text_config=TEXT, vision_config=VISION | dict(num_patches=16)), 22))
  naflex(save(model, "hf_siglip2_naflex"), model)
  grids()


if __name__ == "__main__":
  main()
