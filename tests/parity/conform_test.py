"""tools.conform with transformers, as it is and changed by a line: each change is named."""
import json
import os
import pathlib
import shutil

import jax
import pytest

torch = pytest.importorskip("torch", reason="`make parity` runs these tests in their own venv")
pytest.importorskip("transformers")

import big_vlm  # noqa: E402
from tools import conform  # noqa: E402
from tools.conformance import ask_transformers, readings, sides  # noqa: E402

LOCAL, GLOBAL = "sliding_attention", "full_attention"
TOKENIZER = f"sp('{os.path.dirname(big_vlm.__file__)}/digits/tokenizer.model', ('loc', 'seg'))"


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
  return pathlib.Path(big_vlm.from_preset("digits").export(
      tmp_path_factory.mktemp("digits") / "hf", "hf", probes=4))


@pytest.fixture(scope="module")
def paligemma2(tmp_path_factory):
  """A random PaliGemma 2 with caps that are felt."""
  vlm = big_vlm.VLM.from_config(dict(img=dict(variant="tiny"), llm=dict(
      variant="tiny2", vocab_size=1632, window=None, attn_softcap=1., final_softcap=3.)), TOKENIZER)
  keys = iter(jax.random.split(jax.random.key(1), 100))
  vlm.params["llm"]["layers"] = jax.tree.map(
      lambda x: x + 0.5 * jax.random.normal(next(keys), x.shape), vlm.params["llm"]["layers"])
  return pathlib.Path(vlm.export(tmp_path_factory.mktemp("paligemma2") / "hf", "hf", probes=4))


def here(folder, change=lambda inputs: inputs):
  """The side transformers, in this process; change: of what its processor gives the model."""
  def ask(asked, tokenizer):
    model, reader, about = ask_transformers.read(folder, "float32")
    assert not about["missing"]
    rows = [ask_transformers.answer(
        probe.to_json(), model, lambda *args, **kw: change(reader(*args, **kw)))
            for probe in asked]
    return about["versions"], [sides.Reply(
        row["tokens"], row["logprobs"], list(map(tokenizer.piece, row["tokens"])),
        row["prompt_ids"]) for row in rows]
  return ask


def with_settings(folder, there, file, **settings):
  """A copy of a folder with other settings; "part__name" is a name within a part."""
  shutil.copytree(folder, there)
  saved = json.loads((there / file).read_text())
  for name, value in settings.items():
    *part, name = name.split("__")
    at = saved[part[0]] if part else saved
    assert name in at
    at[name] = value
  (there / file).write_text(json.dumps(saved))
  return there


def named(folder, side):
  """The line that says what differs."""
  lines, agree = conform.conform(folder, side)
  assert not agree
  return next((line for line in lines if line.startswith("what differs is")), lines[-1])


def test_digits(digits):
  lines, agree = conform.conform(digits, sides.transformers(digits))
  assert agree, lines


def all_causal(inputs):
  inputs["token_type_ids"] = torch.ones_like(inputs["input_ids"])
  return inputs


def last_id_lost(inputs):
  for key in ("input_ids", "attention_mask", "token_type_ids"):
    inputs[key] = inputs[key][:, :-1]
  return inputs


def test_a_causal_mask(digits):
  """transformers takes the mask of a prompt from its token types."""
  assert "is the mask: the prompt is causal, its image too." in named(
      digits, here(digits, all_causal))


def test_a_missing_newline(digits):
  assert "is the tokenizer: the newline after the prompt is missing." in named(
      digits, here(digits, last_id_lost))


def test_another_resize(digits, tmp_path):
  there = with_settings(digits, tmp_path / "there", "preprocessor_config.json", resample=3)
  assert "is the resize: images are resized bicubic" in named(digits, here(there))


def test_paligemma_2(paligemma2):
  lines, agree = conform.conform(paligemma2, here(paligemma2))
  assert agree, lines


@pytest.mark.parametrize("settings, what", [
    (dict(final_logit_softcapping=None), "soft-cap: final logits are not capped at 3"),
    (dict(attn_logit_softcapping=None), "soft-cap: attention scores are not capped at 1"),
    (dict(sliding_window=6, layer_types=[LOCAL, GLOBAL, LOCAL]),
     "window: there is a sliding window of 6, prefix_bidirectional")])
def test_a_setting_of_paligemma_2(paligemma2, tmp_path, monkeypatch, settings, what):
  monkeypatch.setattr(readings, "RELEASED_WINDOW", 6)  # the longest probe has 30 tokens
  there = with_settings(paligemma2, tmp_path / "there", "config.json", **{
      f"text_config__{name}": value for name, value in settings.items()})
  assert f"is the {what}" in named(paligemma2, here(there))


def test_a_window_of_gemma_2(tmp_path):
  """A text-only Gemma 2 with a window of 6, which transformers reads as 4096."""
  vlm = big_vlm.VLM.from_config(dict(llm=dict(variant="tiny2", vocab_size=1632)), TOKENIZER)
  keys = iter(jax.random.split(jax.random.key(1), 100))
  vlm.params["llm"]["layers"] = jax.tree.map(
      lambda x: x + 0.5 * jax.random.normal(next(keys), x.shape), vlm.params["llm"]["layers"])
  folder = vlm.export(tmp_path / "gemma2", "hf", probes=4)
  there = with_settings(folder, tmp_path / "there", "config.json", sliding_window=4096)
  assert "is the window: there is no sliding window of 6" in named(folder, here(there))
