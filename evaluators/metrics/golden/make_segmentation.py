"""Makes segmentation.json: what big_vision's RefCOCO evaluator says of drawn cases.

  python evaluators/metrics/golden/make_segmentation.py segmentation.py

The file is big_vision/evaluators/proj/paligemma/transfers/segmentation.py of
google-research/big_vision 0127fb6. Its method `run` is executed as it stands; in place of the
modules around it (jax, flax, tensorflow, big_vision) come the few names that it needs, in place of
the network that turns codes into masks the function `masks` below.

  {"cases": [[[H, W], true mask as [y0, x0, y1, x1] of a filled ellipse, true box, answer, IoU]],
   "scores": {"miou", "boxacc/0.5", "boxacc/0.75", "invalid", "total"}}
"""
import importlib.util
import json
import pathlib
import sys
import types
from unittest import mock

import numpy as np

OUT = pathlib.Path(__file__).with_name("segmentation.json")
LOC0, SEG0 = 1000, 3000


def masks(codes):
  """[N, 16] -> float32 [N, 64, 64]: a disc whose place and size follow from the codes."""
  y, x = np.mgrid[:64, :64]
  c = np.asarray(codes, float)[:, :, None, None] / 127
  radius = 16 + 24 * c[:, 2]
  return (1 - np.hypot(y - 20 - 24 * c[:, 0], x - 20 - 24 * c[:, 1]) / radius).astype(np.float32)


def ellipse(size, corners):
  """bool [H, W]: the ellipse that touches the sides of y0, x0, y1, x1 in pixels."""
  (h, w), (y0, x0, y1, x1) = size, corners
  y, x = np.mgrid[:h, :w] + .5
  return ((y - (y0 + y1) / 2) / (y1 - y0))**2 + ((x - (x0 + x1) / 2) / (x1 - x0))**2 <= .25


def main(path):
  rng = np.random.default_rng(5)
  cases = [case(rng) for _ in range(120)]
  module = reference(path)

  def run(some):
    batch = {"_mask": np.ones(len(some), bool), "tokens": np.stack([c[4] for c in some]),
             "objects/mask": np.array([ellipse(c[0], c[1])[..., None] for c in some] + [None],
                                      dtype=object)[:-1],
             "objects/bbox": np.array([c[2] for c in some])}
    self = types.SimpleNamespace(
        det_ious=(.5, .75), steps=1, get_data_iter=lambda: iter([batch]), loc0=np.array([LOC0]),
        seg0=np.array([SEG0]), decode=lambda _, b: b["tokens"],
        reconstruct_masks=lambda codes: masks(codes)[..., None])
    return {name: float(value) for name, value in module.Evaluator.run(self, None)}

  rows = [[*c[:4], run([c])["miou"]] for c in cases]
  OUT.write_text('{"cases":[\n' + ",\n".join(json.dumps(r, separators=(",", ":")) for r in rows)
                 + '],\n"scores":' + json.dumps(run(cases)) + "}\n")


def case(rng):
  """(size, ellipse, true box, answer, its tokens)"""
  size = rng.integers(20, 200, 2)
  edges = np.sort(rng.integers(0, np.tile(size, (2, 1)) - 6, (2, 2)), axis=0).ravel() + [0, 0, 6, 6]
  box = (edges / np.tile(size, 2)).tolist()
  locs = np.round(np.clip(np.array(box) + rng.normal(0, .03, 4), 0, 1) * 1023).astype(int)
  segs = rng.integers(0, 128, 16)
  kind = rng.integers(10)
  if kind == 0:  # edges in the wrong order
    locs = locs[[2, 1, 0, 3]]
  elif kind == 1:  # less than a pixel
    locs[2] = locs[0] + 1
  elif kind == 2:
    locs[:] = 0, 0, 1023, 1023
  tokens = np.concatenate([LOC0 + locs, SEG0 + segs, [7, 8]])
  answer = "".join(f"<loc{n:04d}>" for n in locs) + "".join(f"<seg{n:03d}>" for n in segs) + " cat"
  if kind == 3:  # a code is missing
    tokens = np.append(np.delete(tokens, 10), 7)
    answer = answer.replace(f"<seg{segs[6]:03d}>", "", 1)
  elif kind == 4:  # a word stands first
    tokens, answer = np.concatenate([[9], tokens[:-1]]), "cat " + answer
  return size.tolist(), edges.tolist(), box, answer, tokens


def reference(path):
  """The reference as a module, with stand-ins for what it imports."""
  parts = {"jax": mock.MagicMock(), "big_vision.evaluators.common": mock.MagicMock(),
           "big_vision.utils": mock.MagicMock(), "flax.linen": mock.MagicMock(Module=object)}
  parts["jax"].device_put = lambda x, _: x
  parts["jax"].device_get = lambda x: x
  parts["big_vision.evaluators.common"].process_sum = lambda x: x
  parts["big_vision.utils"].get_local_slice_from_fsarray = lambda x: x
  for name in ("big_vision", "big_vision.evaluators", "big_vision.pp", "big_vision.pp.tokenizer",
               "flax", "jax.numpy", "tensorflow", "tensorflow.io"):
    parts[name] = mock.MagicMock()
  for name in ("evaluators.common", "utils"):
    parent, _, child = f"big_vision.{name}".rpartition(".")
    setattr(parts[parent], child, parts[f"big_vision.{name}"])
  parts["big_vision"].evaluators = parts["big_vision.evaluators"]
  parts["flax"].linen = parts["flax.linen"]
  with mock.patch.dict(sys.modules, parts):
    spec = importlib.util.spec_from_file_location("reference", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
  return module


if __name__ == "__main__":
  main(sys.argv[1])
