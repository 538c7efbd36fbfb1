import dataclasses

import numpy as np
import pytest
from PIL import Image

import big_vlm
from big_vlm import exporting, image_input, probes
from big_vlm.checkpoints import load
from big_vlm.families import paligemma
from pp import text_layout
from tools import conform
from tools.conformance import sides


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """`digits` as a Hugging Face folder, with its probes."""
  opened = load.open_source(big_vlm.presets.resolve("digits") and "big_vlm/digits")
  return exporting.export(opened, tmp_path_factory.mktemp("export") / "digits", "hf", count=4)


@pytest.fixture(scope="module")
def vlm(folder):
  return big_vlm.from_preset(folder)


def side(vlm, prompt=lambda p: p, image=lambda x: x):
  """Another framework: ours, with other prompts or images."""
  def ask(asked, tokenizer):
    found = vlm.generate([prompt(p.prompt) for p in asked], [image(p.image) for p in asked],
                         max_new_tokens=probes.NEW_TOKENS)
    return "a mutant", [sides.Reply(g.tokens, g.logprobs, list(map(tokenizer.piece, g.tokens)))
                        for g in found]
  return ask


class Causal(paligemma.PaliGemma):
  """A decoder as others have it, which forgets that a prompt sees all of itself."""

  def embed(self, *args, **kwargs):
    x, tokens = super().embed(*args, **kwargs)
    return x, tokens.replace(block=tokens.position)


def last(found):
  lines, agree = found
  assert not agree and any("DIFFERS at token" in line for line in lines)
  return lines[-1]


def test_it_agrees_with_itself(folder, vlm):
  lines, agree = conform.conform(folder, side(vlm))
  assert agree and lines[-1] == "all agree" and "caption en" in lines[1]


def test_a_causal_mask_is_named(folder, vlm):
  mutant = dataclasses.replace(vlm, model=Causal(vlm.config))
  assert "is the mask: the prompt is causal, its image too." in last(
      conform.conform(folder, side(mutant)))


def test_a_missing_newline_is_named(folder, vlm):
  no_newline = lambda p: text_layout.prompt_ids(vlm.tokenizer, p)[:-1]
  assert "is the tokenizer: the newline after the prompt is missing." in last(
      conform.conform(folder, side(vlm, no_newline)))


def test_another_resize_is_named(folder, vlm):
  bicubic = lambda x: np.asarray(Image.fromarray(image_input.read(x)).resize((32, 32)))
  assert "is the resize: images are resized bicubic with antialias, by Pillow." in last(
      conform.conform(folder, side(vlm, image=bicubic)))
