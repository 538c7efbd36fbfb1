import json
import pathlib

import pytest

import big_vlm
from big_vlm import exporting, model_card, presets, probes
from big_vlm.checkpoints import load, native
from big_vlm.checkpoints.checkpoint import Checkpoint
from big_vlm.families import paligemma

DIGITS = pathlib.Path(big_vlm.__file__).parent / "digits"


@pytest.fixture(scope="module")
def digits():
  return load.open_source(DIGITS)


def test_the_probes_of_an_export_are_the_answers_of_the_model(digits, tmp_path):
  folder = exporting.export(digits, tmp_path / "x", "hf", count=2)
  same, resized = probes.read(folder)
  assert (same.prompt, resized.prompt) == ("caption en", "ocr")
  assert same.tolerance == probes.TOLERANCE < resized.tolerance
  vlm = big_vlm.from_preset(folder)
  for probe in (same, resized):
    answer, = vlm.generate(probe.prompt, probe.image, max_new_tokens=probe.max_new_tokens)
    assert (answer.tokens, answer.text) == (probe.tokens, probe.text)
    assert answer.logprobs == pytest.approx(probe.logprobs, abs=1e-5)
    assert probe.prompt_ids == vlm.tokenizer.to_int(probe.prompt, bos=True) + (
        vlm.tokenizer.to_int("\n"))
  card = (folder / "README.md").read_text()
  for text in ("license: apache-2.0", "6,000 steps, seed 0", "| ocr/acc | 0.8825 |", "- `ocr`",
               "`probes.jsonl` has 2 requests", "PaliGemmaForConditionalGeneration"):
    assert text in card
  with pytest.raises(FileExistsError):  # before anything is computed
    exporting.export(digits, folder, "hf", count=2)


def test_which_models_have_probes(digits, tmp_path):
  assert exporting.left_out(digits) is None
  of = lambda config, tokenizer="sp('x')": Checkpoint(
      "x", paligemma.config(**config), {}, tokenizer)
  big = of(presets.PRESETS["gemma2_2b_en"].config)
  assert "10 GiB in float32" in exporting.left_out(big)
  tower = of(dict(img=dict(variant="tiny", pool="map")))
  assert "no decoder" in exporting.left_out(tower)
  with pytest.raises(ValueError, match="can have no probes: it has no decoder"):
    exporting.export(tower, tmp_path / "x", "hf", count=1)
  assert "without a tokenizer" in exporting.left_out(of(dict(llm=dict(variant="tiny")), None))
  for count in (-1, True, "6", 10**6):
    with pytest.raises(ValueError, match="is not a whole number"):
      exporting.export(digits, tmp_path / "x", "hf", count=count)
  with pytest.raises(ValueError, match="Probes are for format='hf'"):
    exporting.export(digits, tmp_path / "x.npz", "npz", count=1)
  assert not list(tmp_path.iterdir())


def test_the_card_of_a_training(tmp_path):
  """Its data and its base without folders of this machine, its newest metrics, its prompts."""
  w = tmp_path / "own"
  jsonl = dict(name="jsonl", path=["/home/me/my/train.jsonl"])
  config = dict(seed=3, input=dict(batch_size=8, mixture=[
      dict(data=jsonl, pp="decode|text_layout"),
      dict(data=dict(name="digits/small", split="train"), pp="strfmt('caption {lang}', outkey="
           "'prefix')|copy('x', 'suffix')")]), init=dict(model="google/paligemma-3b-pt-224"),
      evals={}, lora=dict(rank=4))
  native.write_model(w, dict(llm=dict(variant="tiny")), None)
  (w / "config.json").write_text(json.dumps(config))
  rows = [{"step": 5, "val/acc": .1}, {"step": 9, "val/acc": .5, "loss": 1.}, {"step": 9,
          "val/b|d": .25}, {"step": 12, "val/acc": .9}]
  (w / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
  (w / "predictions").mkdir()
  (w / "predictions" / "val-9.jsonl").write_text(json.dumps({"prefix": "what `is` it ?\n"}) + "\n")
  opened = Checkpoint(str(w / "checkpoints" / "9"), paligemma.config(llm=dict(variant="tiny")), {},
                      None)
  facts = model_card.facts(opened)
  assert facts.metrics == {"val/acc": .5, "val/b|d": .25}
  opened = Checkpoint(opened.path, opened.config, load.open_source(DIGITS).leaves, None)
  card = model_card.readme(opened, facts, 0)
  for text in ("base_model: google/paligemma-3b-pt-224",
               "Started from `google/paligemma-3b-pt-224`",
               "9 steps of 8 examples, seed 3, LoRA of rank 4", "`train.jsonl`",
               "`digits/small, train`", "step 9:", "| val/acc | 0.5 |", "| val/b d | 0.25 |",
               "- `caption {lang}`\n- `what  is  it ? `", "AutoModelForCausalLM"):
    assert text in card, text
  assert "/home/me" not in card and "probes.jsonl" not in card
  (w / "config.json").write_text("[]")
  assert model_card.facts(opened).training == ""  # and a line says so


def test_licences():
  of = lambda name: model_card._licence(paligemma.config(**presets.PRESETS[name].config))
  assert of("pali_gemma2_mix_3b_224") == of("gemma2_2b_en") == "gemma"
  assert of("siglip2_b16_256") == "apache-2.0" and of("opt_125m_en") == "other"
  assert model_card._licence(paligemma.config(llm=dict(variant="tiny"))) == ""


@pytest.mark.parametrize("line, message", [
    (b"", "is empty"), (b"{", "line 1"), (b"[]", "not a probe"),
    (b'{"id": 0, "prompt": "x"}', "not a probe as an export writes them: id, prompt")])
def test_probes_that_are_none(tmp_path, line, message):
  with pytest.raises(FileNotFoundError, match="--probes 6"):
    probes.read(tmp_path)
  (tmp_path / probes.FILE).write_bytes(line)
  with pytest.raises(ValueError, match=message):
    probes.read(tmp_path)
