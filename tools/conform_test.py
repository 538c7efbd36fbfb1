import dataclasses
import http.server
import json
import pathlib
import shutil
import threading

import numpy as np
import pytest
from PIL import Image

import big_vlm
from big_vlm import exporting, image_input, probes
from big_vlm.checkpoints import load
from big_vlm.families import paligemma
from pp import text_layout
from tools import conform
from tools.conformance import readings, sides


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """`digits` as a Hugging Face folder, with its probes."""
  opened = load.open_source(pathlib.Path(big_vlm.__file__).parent / "digits")
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


def test_two_faults_are_named_together(folder, vlm):
  no_newline = lambda p: text_layout.prompt_ids(vlm.tokenizer, p)[:-1]
  bgr = lambda x: image_input.read(x)[..., ::-1]
  text = last(conform.conform(folder, side(vlm, no_newline, bgr)))
  assert "two things differ" in text and "newline" in text and "red and blue" in text


def test_what_no_reading_explains(folder, vlm, monkeypatch):
  """Other weights; with each third reading, as all pairs of them are tried."""
  alternatives = readings.alternatives
  monkeypatch.setattr(readings, "alternatives", lambda *args: alternatives(*args)[::3])
  other = dataclasses.replace(vlm, params={**vlm.params, "img": {
      **vlm.params["img"], "pos_embedding": vlm.params["img"]["pos_embedding"] * 2}})
  text = last(conform.conform(folder, side(other)))
  assert "None of what was tried" in text and "The nearest, in tolerances" in text


def test_an_answer_that_is_cut_is_no_tie(folder, vlm, monkeypatch):
  monkeypatch.setattr(conform, "reasons", lambda *args: [])

  def cut(asked, tokenizer):
    name, found = side(vlm)(asked, tokenizer)
    return name, [sides.Reply(r.tokens[:1], r.logprobs[:1], r.texts[:1]) for r in found]
  lines, agree = conform.conform(folder, cut)
  assert not agree and "DIFFERS at token 1: the answer ends there" in lines[1]


def test_a_folder_that_was_changed(folder, vlm, tmp_path):
  there = shutil.copytree(folder, tmp_path / "there")
  rows = [json.loads(line) for line in (there / probes.FILE).read_text().splitlines()]
  rows[0]["logprobs"][0] -= 1
  (there / probes.FILE).write_text("".join(json.dumps(r) + "\n" for r in rows))
  assert "the folder was changed after its export" in last(conform.conform(there, side(vlm)))


@pytest.mark.parametrize("args, message", [
    (["--against", "vllm"], "--against is transformers, or"),
    (["--against", "transformers", "--python", "/no/python"], "has no transformers. This installs"),
    (["--against", "transformers", "--model", "x"], "--model is of a server"),
    (["--against", "http://127.0.0.1:9", "--python", "x"], "--python is for"),
    (["--against", "http://127.0.0.1:9"], "gives no answer")])
def test_flags(folder, capsys, args, message):
  with pytest.raises((SystemExit, ValueError)) as error:
    conform.main([str(folder), *args])
  assert message in capsys.readouterr().err + str(error.value)


@pytest.mark.parametrize("changed, message", [
    ({"tolerance": 1e9}, "is not a probe"), ({"tolerance": 0}, "is not a probe"),
    ({"max_new_tokens": 10**9}, "is not a probe"), ({"dtype": "int5"}, "is not a probe"),
    ({"prompt": "x" * 10**5}, "is not a probe"), ({"logprobs": [float("1e400")] * 3}, "not valid"),
    ({"tokens": [10**6] * 3, "logprobs": [0, 0, 0]}, "has tokens beyond the"),
    ({"image": probes.URL + "AAAA"}, "the image is not one in base64")])
def test_probes_of_others(folder, tmp_path, changed, message):
  there = shutil.copytree(folder, tmp_path / "there")
  row, *rows = [json.loads(line) for line in (there / probes.FILE).read_text().splitlines()]
  (there / probes.FILE).write_text("".join(json.dumps(r) + "\n" for r in [row | changed, *rows]))
  with pytest.raises(ValueError, match=message):
    conform.conform(there, None)


@pytest.mark.parametrize("status, body, message", [
    (302, b"", "answers 302"), (200, b"[" * 10**5, "nested too deeply"),
    (200, b"{}", "names no model"), (200, b'{"data": [7]}', "names no model")])
def test_a_server_that_answers_something_else(status, body, message):
  class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
      self.send_response(status)
      self.send_header("Location", f"http://localhost:{server.server_port}/v1/elsewhere")
      self.end_headers()
      self.wfile.write(body)

    def log_message(self, *args):
      pass

  with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.raises(ValueError, match=message):
      sides.server(f"http://127.0.0.1:{server.server_port}")([], None)
    server.shutdown()


@pytest.mark.parametrize("llm, kinds", [
    (dict(variant="gemma_2b"), []),
    (dict(variant="gemma2_2b", window=50),
     ["query scale", "soft-cap", "soft-cap", "window", "window"]),
    (dict(variant="gemma2_27b", window=None), ["query scale", "soft-cap", "soft-cap"])])
def test_what_is_tried_of_a_decoder(llm, kinds):
  config = paligemma.config(llm=llm)
  always = {"mask", "tokenizer"}
  assert sorted(r.kind for r in readings.alternatives(config, 100) if r.kind not in always) == kinds
