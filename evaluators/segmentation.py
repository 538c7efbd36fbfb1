"""Referring segmentation: the mask and box that a sentence refers to, answered in <loc> and <seg>.

The VQ-VAE of big_vlm/families/vqvae.py decodes the codes of a mask.
"""
import functools
import os

import numpy as np

from evaluators.metrics import segmentation
from evaluators.predictions import require_keys, to_image
from pp import mask_codes
from pp.tokenizer import check_single_ids

PERCENT = ("miou", "ciou", "boxacc")
CORRECT = 0.5  # IoU from which a prediction counts as correct in the report


def score(predictions, tokenizer, vqvae=None):
  """{"miou", "ciou", "boxacc/0.5", "boxacc/0.75"} in 0..1, and {"invalid": fraction of answers
  without a mask}, against "objects/mask" (an image, the object where above 0) and "objects/bbox".

  vqvae: path of big_vision's vae-oid.npz; by default that in the environment variable
  BIG_VLM_MASK_VQVAE. A prediction's "score" is its IoU; those with an "image" get their masks.
  Raises ValueError where no path is known, and for a tokenizer without <loc> and <seg>.
  """
  require_keys(predictions, ["objects/mask", "objects/bbox"], "segmentation")
  if tokenizer is not None:
    check_single_ids(tokenizer)
  decode = decoder(vqvae or os.environ.get(mask_codes.MODEL))
  targets = {i: Target(p) for i, p in enumerate(predictions)}
  metrics, ious = segmentation.referring(
      {i: p["prediction"] for i, p in enumerate(predictions)}, targets, decode)
  for i, p in enumerate(predictions):
    p["score"], p["correct"] = float(ious[i]), bool(ious[i] >= CORRECT)
    p["ref_boxes"] = [{"box": targets[i]["box"], "label": ""}]
    answer = segmentation.parse_answer(p["prediction"])
    p["pred_boxes"] = [{"box": answer[0], "label": "", "score": None}] if answer else []
    p["references"] = []
    if "image" in p:
      p["ref_mask"] = targets[i]["mask"] > 0
      if answer:
        box, codes = answer
        mask = np.reshape(decode(codes[None]), (mask_codes.SIZE, mask_codes.SIZE))
        p["pred_mask"] = mask_codes.paste(mask, box, p["ref_mask"].shape)
  metrics["invalid"] /= metrics.pop("total")
  return {name: float(value) for name, value in metrics.items()}


class Target:
  """The true mask and box of a prediction.

  The mask is decoded each time it is read, as thousands of them would take gigabytes.
  """

  def __init__(self, prediction):
    self._mask = prediction["objects/mask"]
    self._box = tuple(float(edge) for edge in np.ravel(prediction["objects/bbox"]))

  def __getitem__(self, key):
    if key == "box":
      return self._box
    mask = to_image(self._mask)
    return mask[..., 0] if mask.ndim == 3 and mask.shape[-1] in (1, 3, 4) else mask


@functools.lru_cache(maxsize=2)
def decoder(path):
  """Codes int [N, 16] -> masks float32 [N, 64, 64]."""
  from big_vlm.decode.detections import decode_masks  # here: no other evaluator needs the VQ-VAE
  from big_vlm.families import vqvae
  if not path:
    raise ValueError(
        "big_vision's vae-oid.npz decodes the masks of answers. It is not shipped: download "
        "gs://big_vision/paligemma/vae-oid.npz, and name it as vqvae= of the eval or in the "
        f"environment variable {mask_codes.MODEL}.")
  params = vqvae.load(path)
  return lambda codes: np.stack(list(decode_masks(params, codes)))
