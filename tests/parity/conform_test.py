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


def test_digits(tmp_path):
  folder = big_vlm.from_preset("digits").export(tmp_path / "digits", "hf", probes=4)
  lines, agree = conform.conform(folder, sides.transformers(folder))
  assert agree, lines


def test_a_window(tmp_path):
  """A random Gemma 2 with a window of 6, which transformers reads as 4096."""
  vlm = big_vlm.VLM.from_config(dict(llm=dict(variant="tiny2", vocab_size=1632)), TOKENIZER)
  keys = iter(jax.random.split(jax.random.key(1), 100))
  vlm.params["llm"]["layers"] = jax.tree.map(
      lambda x: x + 0.5 * jax.random.normal(next(keys), x.shape), vlm.params["llm"]["layers"])
  folder = vlm.export(tmp_path / "gemma2", "hf", probes=4)
  there = shutil.copytree(folder, tmp_path / "there")
  settings = json.loads((there / "config.json").read_text()) | {"sliding_window": 4096}
  (there / "config.json").write_text(json.dumps(settings))
  lines, agree = conform.conform(folder, sides.transformers(there))
  assert not agree
  assert "is the window: there is no sliding window of 6" in "\n".join(lines)
