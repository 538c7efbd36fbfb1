"""tools.conform with transformers, as it is and changed by a line in the files that it reads."""
import json
import os
import shutil

import jax
import pytest

for reference in ("torch", "transformers"):
  pytest.importorskip(reference, reason="`make parity` runs these tests in their own venv")

import big_vlm  # noqa: E402
from tools import conform  # noqa: E402
from tools.conformance import sides  # noqa: E402

TOKENIZER = f"sp('{os.path.dirname(big_vlm.__file__)}/digits/tokenizer.model', ('loc', 'seg'))"
LLM = dict(variant="tiny2", vocab_size=1632)
CAP = 2.  # the tiny model's logits are far below Gemma's 30


def exported(folder, **config):
  """A random model whose tokens do not just repeat."""
  vlm = big_vlm.VLM.from_config(config, TOKENIZER)
  keys = iter(jax.random.split(jax.random.key(1), 100))
  vlm.params["llm"]["layers"] = jax.tree.map(
      lambda x: x + 0.5 * jax.random.normal(next(keys), x.shape), vlm.params["llm"]["layers"])
  return vlm.export(folder, "hf", probes=4)


@pytest.fixture(scope="module")
def paligemma2(tmp_path_factory):
  return exported(tmp_path_factory.mktemp("e") / "pg2", img=dict(variant="tiny"),
                  llm=LLM | dict(window=None, final_softcap=CAP))


@pytest.fixture(scope="module")
def gemma2(tmp_path_factory):
  return exported(tmp_path_factory.mktemp("e") / "gemma2", llm=LLM)


def against(folder, file=None, change=lambda settings: None, dtype="float32"):
  """What conform says of `folder` against transformers, which reads a copy with a changed file."""
  there = folder
  if file:
    there = shutil.copytree(folder, folder.with_name("there"), dirs_exist_ok=True)
    settings = json.loads((folder / file).read_text())
    change(settings)
    (there / file).write_text(json.dumps(settings))
  lines, agree = conform.conform(folder, sides.transformers(there, dtype))
  return lines, agree


def test_it_agrees(paligemma2, gemma2):
  for folder in (paligemma2, gemma2):
    lines, agree = against(folder)
    assert agree, lines


def named(found):
  lines, agree = found
  assert not agree, lines
  return "\n".join(lines)


def test_the_resize(paligemma2):
  assert "is the resize: images are resized bicubic with antialias" in named(
      against(paligemma2, "preprocessor_config.json", lambda s: s.update(resample=3)))


def test_the_scale_of_pixels(paligemma2):
  def imagenet(settings):
    settings.update(image_mean=[.485, .456, .406], image_std=[.229, .224, .225])
  assert "is the pixels: pixels have ImageNet's mean and deviation" in named(
      against(paligemma2, "preprocessor_config.json", imagenet))


def test_the_cap(paligemma2):
  assert "is the soft-cap: final logits are not capped at 2" in named(against(
      paligemma2, "config.json", lambda s: s["text_config"].update(final_logit_softcapping=None)))


def test_the_window(gemma2):
  assert "is the window: there is no sliding window of 6" in named(
      against(gemma2, "config.json", lambda s: s.update(sliding_window=4096)))


def test_the_dtype(paligemma2):
  assert "is the dtype: " in named(against(paligemma2, dtype="bfloat16"))


def test_the_tokenizer(gemma2):
  def no_bos(fast):
    fast["post_processor"] = None
  text = named(against(gemma2, "tokenizer.json", no_bos))
  assert "is the tokenizer: bos is missing" in text and "its prompt is [" in text
