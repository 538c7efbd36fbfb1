"""Loss and gradients equal those of transformers on the same weights."""
import pathlib

import numpy as np
import pytest

for reference in ("torch", "transformers"):
  pytest.importorskip(reference, reason="`make parity` runs these tests in their own venv")

import dataclasses  # noqa: E402

import torch  # noqa: E402

from benchmarks import gradients  # noqa: E402
from big_vlm.checkpoints import hf  # noqa: E402

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
IMAGE_TOKENS, VOCAB, TEXT = 4, 150, 12


@pytest.mark.parametrize("kernel", ["einsum", "chunked", "splash"])
@pytest.mark.parametrize("name", ["hf_paligemma", "hf_paligemma2"])
def test_prefixes_of_several_lengths(name, kernel):
  source = hf.open_source(GOLDEN / name)
  parts = (dataclasses.replace(part, attention=kernel)
           for part in (source.config.img, source.config.llm))
  source = dataclasses.replace(source, config=type(source.config)(*parts))
  rng = np.random.default_rng(0)
  text = rng.integers(4, VOCAB, (3, TEXT)).astype(np.int32)
  image = rng.uniform(-1, 1, (3, 14, 14, 3)).astype(np.float32)
  # As many supervised tokens each: transformers takes the mean over tokens, we over examples.
  suffix = np.arange(TEXT) >= np.array([[4], [6], [7]])
  supervised = suffix & (np.arange(TEXT) < np.array([[9], [11], [12]]))
  loss, ours = gradients.ours(source, dict(
      text=text, image=image, mask_ar=suffix.astype(np.int32),
      mask_loss=supervised.astype(np.int32)))

  before = ((0, 0), (IMAGE_TOKENS, 0))
  ids, kinds = np.pad(text, before, constant_values=VOCAB), np.pad(suffix.astype(np.int64), before)
  labels = np.where(np.pad(supervised, before), ids, -100)
  their_loss, theirs = gradients.theirs(source, dict(
      input_ids=torch.tensor(ids, dtype=torch.long), labels=torch.tensor(labels, dtype=torch.long),
      attention_mask=torch.ones(ids.shape, dtype=torch.long), token_type_ids=torch.tensor(kinds),
      pixel_values=torch.tensor(image).permute(0, 3, 1, 2)))
  assert loss == pytest.approx(their_loss, rel=1e-5)
  worst = gradients.differences(ours, theirs)
  assert {n: d for n, d in worst.items() if d > 1e-4} == {}
