"""A mask -> 16 codes in 0..127 by the encoder of the VQ-VAE behind <seg>; pasting a decoded mask.

Ning et al., "All in Tokens", arXiv 2301.02229. The weights are big_vision's `vae-oid.npz`, in
PyTorch's layout (outputs, inputs, height, width):

  encoder.{0,2,4,6}          convolutions of stride 2, each followed by a ReLU: 64 -> 4 pixels
  encoder.{8,9}.net.{0,2,4}  residual blocks, without a ReLU after the sum
  encoder.10                 convolution to the width of the codebook
  _vq_vae._embedding         the codebook: a code is the row nearest to the encoder's output

big_vlm/families/vqvae.py decodes the codes. This file is in numpy because pp has no JAX.
"""

import functools
import os

import numpy as np
from PIL import Image

from pp.resampling import resize_image

MODEL = "BIG_VLM_MASK_VQVAE"  # environment variable with the path of vae-oid.npz
SIZE = 64  # pixels of a mask's side
CODES = 16  # a 4 x 4 grid, row by row
CONVOLUTIONS = [*(f"encoder.{n}" for n in (0, 2, 4, 6)),
                *(f"encoder.{n}.net.{m}" for n in (8, 9) for m in (0, 2, 4)), "encoder.10"]
CODEBOOK = "_vq_vae._embedding"


def load(model="oi"):
  """Returns {name: float32 array} of the encoder.

  Args:
    model: path of vae-oid.npz; "oi" reads the path from $BIG_VLM_MASK_VQVAE.

  Raises:
    ValueError: the variable is not set, or the file is not this model.
    FileNotFoundError: the file does not exist.
  """
  path = os.environ.get(MODEL) if model == "oi" else model
  if not path:
    raise ValueError(
        "The mask model 'oi' needs big_vision's vae-oid.npz, which is not shipped: download it "
        "from gs://big_vision/paligemma/vae-oid.npz, then name it as model='path/to/vae-oid.npz' "
        f"or in the environment variable {MODEL}.")
  return _read(str(path))


@functools.lru_cache(maxsize=4)
def _read(path):
  names = [*(f"{c}.{part}" for c in CONVOLUTIONS for part in ("weight", "bias")), CODEBOOK]
  try:
    with np.load(path, allow_pickle=False) as file:
      params = {n: file[n].astype(np.float32) for n in names if n in file.files}
  except FileNotFoundError as e:
    raise FileNotFoundError(f"Cannot read the mask model {path!r} ({e.strerror}); it is "
                            "big_vision's vae-oid.npz.") from e
  except Exception as e:  # numpy's and zipfile's own kinds
    raise ValueError(f"Cannot read the mask model {path!r}: {e}") from e
  if missing := [n for n in names if n not in params]:
    raise ValueError(f"{path} does not hold the VQ-VAE of masks: missing {', '.join(missing)}. "
                     "Give big_vision's vae-oid.npz.")
  return params


def mask_to_codes(params, mask, box):
  """Returns the 16 codes (ints) of the part of a mask inside a box.

  Args:
    params: of `load`.
    mask: uint8 [H,W], 0..255.
    box: (ymin, xmin, ymax, xmax) in 0..1; rounded to pixels, to one at least.
  """
  (top, bottom), (left, right) = [
      _pixels(low, high, n) for low, high, n in zip(box[:2], box[2:], mask.shape)]
  part = np.ascontiguousarray(mask[top:bottom, left:right, None], np.float32)
  small = resize_image(part, (SIZE, SIZE), "bilinear", antialias=True)
  return encode(params, small[None] / np.float32(255))[0].tolist()


def _pixels(low, high, n):
  """The rows or columns between two fractions of n: (begin, end) with begin < end."""
  low, high = (int(np.clip(np.round(np.float32(n) * np.float32(x)), 0, n)) for x in (low, high))
  begin = min(low, n - 1)
  return begin, max(high, begin + 1)


def pixel_box(box, size):
  """The pixels of a box in 0..1, edges cut off to integers: (ymin, xmin, ymax, xmax)."""
  return tuple(int(edge * side) for edge, side in zip(box, (*size, *size), strict=True))


def paste(mask, box, size):
  """A mask of a box on the whole image: bool [H, W]; nothing where the box holds no pixel.

  As big_vision evaluates RefCOCO: the edges of pixel_box, Pillow's bilinear resize (which averages
  where it shrinks), true above 0.

  mask: float [64, 64]. box: (ymin, xmin, ymax, xmax) in 0..1. size: (H, W).
  """
  y0, x0, y1, x1 = pixel_box(box, size)
  whole = np.zeros(size, bool)
  if y0 < y1 and x0 < x1:
    mask = Image.fromarray(np.asarray(mask, np.float32))
    whole[y0:y1, x0:x1] = np.asarray(mask.resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR)) > 0
  return whole


def encode(params, masks):
  """Returns the codes int32 [B,16] of masks float32 [B,64,64,1] in 0..1."""
  x = 2 * masks.astype(np.float32) - 1
  for name in CONVOLUTIONS[:4]:
    x = np.maximum(_conv(params, name, x, 2), 0)
  for block in ("encoder.8.net", "encoder.9.net"):
    y = np.maximum(_conv(params, f"{block}.0", x), 0)
    y = np.maximum(_conv(params, f"{block}.2", y), 0)
    x = x + _conv(params, f"{block}.4", y)
  rows = params[CODEBOOK]
  x = _conv(params, "encoder.10", x).reshape(len(masks), CODES, rows.shape[1])
  # The squared distance without |x|^2, which is the same for all rows.
  return np.argmin((rows**2).sum(axis=1) - 2 * x @ rows.T, axis=-1).astype(np.int32)


def _conv(params, name, x, stride=1):
  """[B,H,W,C] -> [B,H/stride,W/stride,outputs]; odd padding puts one pixel more at the end."""
  weight, bias = params[f"{name}.weight"], params[f"{name}.bias"]
  pads = [(0, 0)]
  for n, kernel in zip(x.shape[1:3], weight.shape[2:]):
    total = max((-(-n // stride) - 1) * stride + kernel - n, 0)
    pads.append((total // 2, total - total // 2))
  x = np.pad(x, [*pads, (0, 0)])
  windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(1, 2))
  return np.einsum("BHWCYX,OCYX->BHWO", windows[:, ::stride, ::stride], weight,
                   optimize=True) + bias
