"""Exports of a trained model answer batches of unequal length as we do, prompted as the pages of
transformers and KerasHub do it."""
import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import numpy as np
import pytest

for reference in ("torch", "transformers", "keras_hub"):
  pytest.importorskip(reference, reason="`make parity` runs these tests in their own venv")

import keras_hub  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from PIL import Image  # noqa: E402

import big_vlm  # noqa: E402

NEW = 24
PROMPTS = ["ocr", "answer en which digit is the largest?", "detect 3 ; 8", "caption en"]


@pytest.fixture(autouse=True)
def _keras_promotes_ranks():
  with jax.numpy_rank_promotion("allow"):
    yield


@pytest.fixture(scope="module")
def vlm():
  return big_vlm.from_preset("digits")


@pytest.fixture(scope="module")
def images():
  """Crops of unlike pictures, at the size of the model: no library resizes anything."""
  scene = np.asarray(Image.open("docs/digits.png").convert("RGB").resize((64, 64)))
  return [np.ascontiguousarray(scene[y:y + 32, x:x + 32]) for y in (0, 32) for x in (0, 32)]


@pytest.fixture(scope="module")
def wanted(vlm, images):
  found = vlm.generate(PROMPTS, images, max_new_tokens=NEW)
  assert len({len(vlm.tokenizer.to_int(p)) for p in PROMPTS}) == len(PROMPTS)  # unequal indeed
  return [answer.text for answer in found]


def test_transformers(vlm, images, wanted, tmp_path):
  vlm.export(str(tmp_path / "hf"), format="hf")
  tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
  mask = tokenizer(PROMPTS, padding=True, return_tensors="np")["attention_mask"]
  assert mask[:, -1].all() and not mask.all()  # it pads where generation does not continue
  processor = transformers.AutoProcessor.from_pretrained(tmp_path / "hf")
  model = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path / "hf",
                                                                   dtype=torch.float32)
  batch = processor(images=images, text=[f"<image>{p}" for p in PROMPTS], padding=True,
                    return_tensors="pt")
  with torch.inference_mode():
    out = model.generate(**batch, max_new_tokens=NEW, do_sample=False)
  new = out[:, batch["input_ids"].shape[1]:]
  assert processor.batch_decode(new, skip_special_tokens=True) == wanted


def test_kerashub(vlm, images, wanted, tmp_path):
  vlm.export(str(tmp_path / "keras"), format="keras")
  model = keras_hub.models.PaliGemmaCausalLM.from_preset(str(tmp_path / "keras"))
  model.compile(sampler="greedy")
  out = model.generate({"images": np.stack(images).astype(np.float32),
                        "prompts": [f"{p}\n" for p in PROMPTS]}, max_length=64,
                       strip_prompt=True)
  assert out == wanted
