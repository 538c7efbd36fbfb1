import dataclasses
import io
import types

import jax
import numpy as np
import pytest
from PIL import Image

import big_vlm
from big_vlm import trees
from big_vlm.checkpoints import load, native
from big_vlm.decode.answers import Generation
from big_vlm.decode.detections import from_generation
from big_vlm.families import paligemma
from big_vlm.vlm import VLM
from evaluators import common
from pp import locations
from pp.context import Context
from tools import predict

IMAGE = np.zeros((32, 32, 3), np.uint8)
BOX = "<loc0256><loc0512><loc0767><loc1023>"
ANSWERS = {"ocr": "366", "caption zh": "三", "detect 3": f"{BOX} 3 ; {BOX} 7",
           "segment 3": f"{BOX}{'<seg001>' * 16} 3", "long": "so " * 9, "nothing": ""}


class Fake:
  """Answers known prompts as a VLM does; `asked` holds the settings."""
  tokenizer, text_len = None, 36

  def __init__(self):
    self.asked = []

  def stream(self, prompt, image, **settings):
    found = self.generate(prompt, image, **settings)
    yield from (piece + " " for piece in found[0].text.split())
    return found

  def generate(self, prompt, image, **settings):
    if prompt not in ANSWERS:
      raise ValueError(f"The prompt {prompt!r} is too long: shorten it.")
    self.asked.append(settings)
    return [Generation(ANSWERS[prompt], [5] * 9, [], "length" if prompt == "long" else "eos")]

  def detections(self, generation, image, vqvae=None):
    return from_generation(generation, self.tokenizer, image.shape[:2], vqvae)


@pytest.fixture
def out(tmp_path):
  return tmp_path / "overlay.png"


@pytest.mark.parametrize("prompt,said", [
    ("ocr", "366 \noverlay: {out}\n"),
    ("nothing", "\noverlay: {out}\n"),
    ("long", "so so so so so so so so so \n(cut after 9 tokens; max_new_tokens allows more)\n"
             "overlay: {out}\n"),
])
def test_prints_the_answer_and_writes_the_picture(capsys, out, prompt, said):
  predict.answer(Fake(), prompt, IMAGE, out)
  assert capsys.readouterr().out == said.format(out=out)
  assert Image.open(out).width == 512


def test_boxes_are_drawn(out):
  predict.answer(Fake(), "ocr", IMAGE, out)
  assert not np.asarray(Image.open(out))[:512].any()
  predict.answer(Fake(), "detect 3", IMAGE, out)
  page = np.asarray(Image.open(out))[:512]
  assert page[200:400].any() and not page[:, :200].any()


def test_masks_need_their_decoder_and_one_line_says_so(capsys, out):
  predict.answer(Fake(), "segment 3", IMAGE, out)
  said = capsys.readouterr().out
  assert [line for line in said.split("\n") if "vqvae" in line] == [
      "(masks are not drawn: their decoder is missing; --vqvae names the file, "
      "gs://big_vision/paligemma/vae-oid.npz)"]
  predict.answer(Fake(), "detect 3", IMAGE, out)
  assert "vqvae" not in capsys.readouterr().out


def test_a_search_that_changes_its_mind_shows_its_answer_at_the_end():
  vlm, shown = Fake(), []
  reply = predict.respond(vlm, "ocr", IMAGE, show=shown.append, sampler="beam(n=2)")
  assert shown == ["366"] and vlm.asked == [dict(sampler="beam(n=2)", max_new_tokens=36)]
  assert reply.generation.text == "366" and not reply.found


def run(monkeypatch, tmp_path, *args, stdin=""):
  vlm = Fake()
  Image.fromarray(IMAGE).save(tmp_path / "image.png")
  def load(source, dtype, adapter, quantize):
    vlm.loaded = dtype, adapter, quantize
    return vlm
  monkeypatch.setattr(predict, "load", load)
  monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
  predict.main(["W", "--image", str(tmp_path / "image.png"), "--out", str(tmp_path / "o.png"),
                *args])
  return vlm


def test_the_settings_of_the_command_line(monkeypatch, tmp_path):
  vlm = run(monkeypatch, tmp_path, "--prompt", "ocr", "--sampler", "top_k(5)", "--seed", "3",
            "--max_new_tokens", "9", "--grammar", "none", "--dtype", "bfloat16",
            "--quantize", "int8", "--adapter", "A")
  assert vlm.loaded == ("bfloat16", "A", "int8")
  assert vlm.asked[-1] == dict(sampler="top_k(5)", seed=3, max_new_tokens=9, grammar=None)
  vlm = run(monkeypatch, tmp_path, "--prompt", "ocr")  # as long as in an evaluation
  assert vlm.asked[-1] == dict(sampler="greedy", seed=0, max_new_tokens=36, grammar="auto")
  assert vlm.loaded == ("auto", None, None)


def test_predict_an_evaluation_and_one_within_a_training_answer_alike(tokenizer, mesh1, rng):
  """In bfloat16, as on accelerators, and up to the same length."""
  config = {"img": {"variant": "tiny"}, "llm": {"variant": "tiny"}}
  vlm = dataclasses.replace(VLM.from_config(config, tokenizer, mesh=mesh1), text_len=20)
  keys = iter(jax.random.split(jax.random.key(1), 100))
  vlm.params["llm"]["layers"] = jax.tree.map(  # else every token predicts itself again
      lambda x: x + 0.5 * jax.random.normal(next(keys), x.shape), vlm.params["llm"]["layers"])
  half = trees.map_with_names(lambda n, x: x.astype(load.dtype_of(n, "bfloat16")), vlm.params)
  model = paligemma.PaliGemma(paligemma.with_dtype(vlm.config, "bfloat16"))
  examples = [{"image": rng.integers(0, 256, (20, 30, 3)).astype(np.uint8), "prefix": prefix,
               "suffix": "3"} for prefix in ("ocr", "caption en")]
  evaluator = common.Evaluator(
      "e", model, tokenizer, mesh1, type="exact_match", data=dict(name="memory", examples=examples),
      pp="decode(exif=True)|resize(antialias=True)|text_layout(keep=('prefix', 'suffix'))",
      batch_size=2, grammar="auto", context=Context(tokenizer, 20, 16))
  loaded = dataclasses.replace(vlm, model=model, params=half)
  answers = [predict.decode(loaded, x["prefix"], x["image"], lambda piece: None, grammar="auto")
             for x in examples]
  for params in (vlm.params, half):
    rows = evaluator.predict(params)
    assert [r["tokens"] for r in rows] == [a.tokens for a in answers]
  assert {len(a.tokens) for a in answers} == {20} and answers[0].tokens != answers[1].tokens


def test_prompts_one_after_another(monkeypatch, tmp_path, capsys):
  run(monkeypatch, tmp_path, "--interactive", "--prompt", "ocr",
      stdin="detect 3\n\nunknown\nnothing\n")
  said = capsys.readouterr().out
  assert "366" in said and f"overlay: {tmp_path / 'o_4.png'}" in said
  assert "error: The prompt 'unknown' is too long: shorten it." in said
  assert sorted(p.name for p in tmp_path.glob("o*")) == ["o_1.png", "o_2.png", "o_4.png"]


def test_a_prompt_is_needed(monkeypatch, tmp_path, capsys):
  with pytest.raises(SystemExit):
    run(monkeypatch, tmp_path)
  assert "--interactive" in capsys.readouterr().err


@pytest.mark.parametrize("name,message", [
    ("nowhere/o.png", "Cannot write the picture"), ("o.nothing", "unknown file extension")])
def test_a_picture_that_cannot_be_written(tmp_path, name, message):
  with pytest.raises((OSError, ValueError), match=f"(?s){message}.*--out names a file"):
    predict.answer(Fake(), "ocr", IMAGE, tmp_path / name)


def test_files_that_are_no_image_or_no_decoder(tmp_path):
  (tmp_path / "x.png").write_text("hello")
  with pytest.raises(ValueError, match="x.png"):
    predict.read_image(tmp_path / "x.png")
  with pytest.raises(OSError, match="Cannot read the image .*nowhere.png"):
    predict.read_image(tmp_path / "nowhere.png")
  with pytest.raises(OSError, match="decoder of masks .*nowhere.npz.*gs://big_vision"):
    predict.read_vqvae(tmp_path / "nowhere.npz")
  assert predict.read_vqvae(None) is None


@pytest.mark.parametrize("img,llm,tokenizer,message", [
    (None, "gemma", "tok", "has no image tower: it reads text alone"),
    ("vit", None, "tok", "has no decoder"),
    ("vit", "gemma", None, "has no tokenizer"),
])
def test_a_model_that_cannot_answer(monkeypatch, tmp_path, img, llm, tokenizer, message):
  vlm = types.SimpleNamespace(config=types.SimpleNamespace(img=img, llm=llm), tokenizer=tokenizer)
  monkeypatch.setattr(big_vlm, "from_preset", lambda source, dtype: vlm)
  with pytest.raises(ValueError, match=f"{tmp_path} {message}"):
    predict.load(str(tmp_path))


def test_a_released_model_of_text_is_refused_before_it_is_downloaded():
  with pytest.raises(ValueError, match="gemma_2b_en has no image tower"):
    predict.load("gemma_2b_en")


def test_spelling_of_tokens():
  pieces = ["▁cat", "▁", "<eos>", "Ġdog", "\n"]
  tokenizer = types.SimpleNamespace(piece=pieces.__getitem__)
  assert [predict.spelling(tokenizer, i) for i in range(5)] == ["cat", "␣", "<eos>", "dog", "␣"]


def test_a_model(tmp_path, tokenizer, mesh1, capsys, rng):
  """All of it with a real, untrained one: the grammar makes it name boxes."""
  native.write_model(tmp_path, dict(img=dict(variant="tiny"),
                                    llm=dict(variant="tiny", vocab_size=1632)), tokenizer)
  vlm = big_vlm.from_preset(tmp_path, load_weights=False, mesh=mesh1)
  image = rng.integers(0, 256, (20, 30, 3)).astype(np.uint8)
  predict.answer(vlm, "detect 3", image, tmp_path / "o.png", attention=True, grammar="detect",
                 max_new_tokens=7)
  answer, *rest = capsys.readouterr().out.splitlines()
  found = locations.parse_objects(answer)
  assert all(o.label == "3" for o in found)
  assert any(line.startswith("confidence: 3 ") for line in rest) == bool(found)
  assert rest[-2:] == [f"overlay: {tmp_path / 'o.png'}",
                       f"attention map: {tmp_path / 'o_attention.png'}"]
  assert Image.open(tmp_path / "o_attention.png").width > 512
