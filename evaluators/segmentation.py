"""Referring segmentation: the mask and box of what a sentence means, in answers of <loc> and <seg>.

The codes of a mask are decoded by the VQ-VAE of big_vlm/families/vqvae.py.
"""
import functools
import os

import numpy as np

from evaluators.metrics import segmentation
from evaluators.rows import need, to_image
from pp import mask_codes
from pp.tokenizer import check_single_ids

PERCENT = ("miou", "ciou", "boxacc")
RIGHT = 0.5  # IoU


def score(rows, tokenizer, vqvae=None):
  """{"miou", "ciou", "boxacc/0.5", "boxacc/0.75"} in 0..1, {"invalid": share of answers without a
  mask} against "objects/mask" (an image, the object where above 0) and "objects/bbox".

  vqvae: path of big_vision's vae-oid.npz; by default where the environment variable
  BIG_VLM_MASK_VQVAE points. A row's "score" is its IoU; rows with an "image" get their masks.
  Raises ValueError where no path is known, and for a tokenizer without <loc> and <seg>.
  """
  need(rows, ["objects/mask", "objects/bbox"], "segmentation")
  if tokenizer is not None:
    check_single_ids(tokenizer)
  decode = decoder(vqvae or os.environ.get(mask_codes.MODEL))
  truths = {i: Truth(row) for i, row in enumerate(rows)}
  metrics, ious = segmentation.referring(
      {i: row["prediction"] for i, row in enumerate(rows)}, truths, decode)
  for i, row in enumerate(rows):
    row["score"], row["correct"] = float(ious[i]), bool(ious[i] >= RIGHT)
    row["ref_boxes"] = [{"box": truths[i]["box"], "label": ""}]
    found = segmentation.parse_answer(row["prediction"])
    row["pred_boxes"] = [{"box": found[0], "label": "", "score": None}] if found else []
    row["references"] = []
    if "image" in row:
      row["ref_mask"] = truths[i]["mask"]
      if found:
        mask = segmentation.paste(np.asarray(decode(found[1][None]), np.float32).reshape(64, 64),
                                  found[0], row["ref_mask"].shape)
        row["pred_mask"] = np.zeros_like(row["ref_mask"]) if mask is None else mask
  metrics["invalid"] /= metrics.pop("total")
  return {name: float(value) for name, value in metrics.items()}


class Truth:
  """The true mask and box of a row; the mask is read anew each time, as thousands of them would
  take gigabytes."""

  def __init__(self, row):
    self._mask = row["objects/mask"]
    self._box = tuple(float(edge) for edge in np.ravel(row["objects/bbox"]))

  def __getitem__(self, key):
    if key == "box":
      return self._box
    mask = to_image(self._mask) > 0
    return mask[..., 0] if mask.ndim == 3 else mask


@functools.lru_cache(maxsize=2)
def decoder(path):
  """Codes int [N, 16] -> masks float [N, 64, 64, 1], N up to 64."""
  from big_vlm.families import vqvae  # here: what has no masks to decode needs no VQ-VAE
  if not path:
    raise ValueError(
        "Masks of answers are decoded by big_vision's vae-oid.npz, which is not shipped: download "
        "gs://big_vision/paligemma/vae-oid.npz, and name it as vqvae= of the eval or in the "
        f"environment variable {mask_codes.MODEL}.")
  params = vqvae.load(path)

  def decode(codes):
    batch = np.zeros((segmentation.DECODED_AT_ONCE, codes.shape[1]), np.int32)
    batch[:len(codes)] = codes
    return np.asarray(vqvae.decode(params, batch))[:len(codes)]
  return decode
