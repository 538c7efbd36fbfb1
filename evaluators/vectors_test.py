"""Evaluator types that compare vectors: big_vision's numbers, and what they refuse."""
import hashlib
import json
import pathlib
import re

import numpy as np
import pytest

from big_vlm import embedding, vector_index
from big_vlm.vlm import VLM
from configs import common as defaults
from evaluators import common, few_shot, retrieval, run, vectors, zero_shot_classification
from evaluators.metrics import least_squares
from evaluators.metrics.golden import make_vectors
from evaluators.predictions import MissingKey
from evaluators.prompts import TEMPLATES

GOLDEN = np.load(pathlib.Path(__file__).parent / "metrics" / "golden" / "vectors.npz")


def predictions(zi, owner):
  return [{"id": str(i), "vector": vectors.packed(z),
           "references": [f"text {t}" for t in np.flatnonzero(owner == i)]}
          for i, z in enumerate(zi)]


def test_retrieval_is_big_visions(monkeypatch):
  monkeypatch.setattr(vector_index, "BLOCK", 7)  # nothing depends on the blocks
  found = predictions(GOLDEN["zi"], GOLDEN["owner"])
  retrieval.finish(found, None, GOLDEN["zt"])
  scores = retrieval.score(json.loads(json.dumps(found)), None)  # as read from a file
  assert list(scores.values()) == pytest.approx([*GOLDEN["img2txt"], *GOLDEN["txt2img"]], abs=1e-9)
  assert "vector" not in found[0]
  assert found[0]["nearest_texts"][0][0] == found[0]["prediction"]
  own = [p["nearest_texts"][0][2] for p in found]
  assert np.mean(own) == pytest.approx(scores["img2txt_recall@1"])


def test_a_model_that_says_the_same_of_all_is_at_chance():
  found = predictions(np.ones((40, 4)), np.repeat(np.arange(40), 2))
  retrieval.finish(found, None, np.ones((80, 4), np.float32))
  assert retrieval.score(found, None)["img2txt_recall@1"] == 1 / 40


def test_zero_shot_classes_are_big_visions():
  found = embedding.label_vectors(GOLDEN["prompts"], 7)
  np.testing.assert_allclose(found, GOLDEN["classes"], atol=1e-6)
  sha = lambda texts: hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()
  assert [sha(TEMPLATES["clip_paper"]), sha(TEMPLATES["clip_best"])] == GOLDEN["templates"].tolist()


def test_few_shot_is_big_visions():
  """Their sums are float32: one of 200 may fall on the other side."""
  labels, found = GOLDEN["train_labels"], np.zeros_like(GOLDEN["accuracy"])
  for seed in range(make_vectors.SEEDS):
    for i, count in enumerate(make_vectors.SHOTS):
      at = least_squares.shots(labels, count, seed)
      probe = least_squares.Probe(GOLDEN["train"][at], labels[at], 6)
      for k, l2 in enumerate(make_vectors.L2):
        found[seed, i, k] = np.mean(probe.predict(GOLDEN["test"], l2) == GOLDEN["test_labels"])
  np.testing.assert_allclose(found, GOLDEN["accuracy"], atol=1 / 200 + 1e-6)
  assert np.mean(found != GOLDEN["accuracy"].round(3)) < 0.1


@pytest.fixture(scope="module")
def siglip(data_dir, mesh1):
  towers = {"img": {"variant": "tiny", "image_size": 32}, "txt": {
      "variant": "text_tiny", "length": 8}}
  return VLM.from_config(towers, f"sp('{data_dir}/digits/tiny/1.0.0/tokenizer.model')", mesh=mesh1)


@pytest.fixture
def evaluator(siglip, data_dir):
  def make(type, keep, split="val[:9]", model=siglip, batch_size=4, **more):
    return common.Evaluator(
        "own", model.model, siglip.tokenizer_name, siglip.mesh, type=type,
        batch_size=batch_size,
        data=dict(name="digits/tiny", split=split, data_dir=data_dir),
        pp=f"flatten|decode|resize(32)|keep('image', 'id', {keep!r})", **more)
  return make


@pytest.mark.filterwarnings("ignore:6 of 9 texts")
def test_retrieval_of_a_model(evaluator, siglip, tmp_path, capsys):
  one = evaluator("retrieval", "captions/en", captions="captions/en")
  kept, batches = tmp_path / "kept.jsonl", []

  def stop(done, total):
    if done == 2:
      raise KeyboardInterrupt
  with pytest.raises(KeyboardInterrupt):
    one.predict(siglip.params, stop, kept=kept)
  found = one.predict(siglip.params, lambda *at: batches.append(at), 2, kept)
  assert batches == [(1, 1)]  # 8 of 9 examples were there
  texts = [p["references"][0] for p in found]
  cosines = siglip.embed([p["neighbours"][0] for p in found[:2]]) @ siglip.embed(texts=texts).T
  assert found[0]["nearest_images"][0][1] == pytest.approx(cosines[0, 0], abs=1e-4)
  whole = siglip.embed([p["image"] for p in found[:2]]) @ siglip.embed(texts=texts).T
  assert [p["prediction"] for p in found[:2]] == [texts[n] for n in whole.argmax(axis=1)]
  metrics = one.run(siglip.params, tmp_path, 3)
  assert metrics["own/img2txt_recall@10"] == 1 and one.in_percent("txt2img_recall@5")
  row = json.loads((tmp_path / "predictions" / "own-3.jsonl").read_text().splitlines()[0])
  assert {"text_rank", "image_ranks", "nearest_texts"} < set(row)
  assert not {"vector", "neighbours"} & set(row) and one.baseline(found) == {}
  assert "own: 6 of 9 texts have more than the 8 tokens" in capsys.readouterr().out


def test_classes_of_a_model(evaluator, siglip):
  names = [str(n) for n in range(10)] + ["a hat", "A hat!"]
  ask = lambda **more: evaluator("zero_shot_classification", "objects/label", **{
      "class_names": names, "templates": ["{}", "digit {}"], "label": "objects/label",
      "same_names": "first", **more})
  one = ask()
  found = one.predict(siglip.params, images=9)
  scores = one.score(found)
  said = siglip.classify([p["image"] for p in found], names[:11], ["{}", "digit {}"])
  assert [p["prediction"] for p in found] == [one.label for one in said]
  assert 0 <= scores["own/accuracy"] <= scores["own/top5_accuracy"] <= 1
  assert found[0]["labels"] and found[0]["nearest_texts"][0][0] == found[0]["prediction"] in names
  with pytest.raises(ValueError, match="'a hat' and 'A hat!' read the same"):
    ask(same_names="error")
  with pytest.raises(ValueError, match="has the label [2-9], which is none of the 2 classes"):
    common.check_first([ask(class_names=["a", "b"], split="val")])
  with pytest.raises(ValueError, match="Did you mean 'clip_best'"):
    ask(templates="clip_bets")
  assert ask(class_names=None).predict(siglip.params)[0]["prediction"].isdigit()  # TFDS names them
  with pytest.raises(ValueError, match="needs class_names="):
    ask(class_names=None, label="ocr").predict(siglip.params)
  with pytest.raises(MissingKey, match="has no 'label'"):
    ask(label="label").predict(siglip.params)


@pytest.mark.parametrize("data, found", [
    ("\ufeffcat\ndog\n", ["cat", "dog"]), ("a\u2028b\r\nc\n\n", ["a\u2028b", "c"]),
    ("cat\n\ndog", "line 2 is blank"), ("\ncat", "line 1 is blank"), ("", "one or more strings"),
    ("café".encode("latin-1"), "is not UTF-8"), ("café".encode("utf-16"), "is not UTF-8")])
def test_a_file_of_names_has_the_numbers_of_its_lines(tmp_path, data, found):
  path = tmp_path / "names.txt"
  path.write_bytes(data if isinstance(data, bytes) else data.encode())
  if isinstance(found, list):
    assert zero_shot_classification.read_names(str(path)) == found
  else:
    with pytest.raises(ValueError, match=f"names.txt.*{found}"):
      zero_shot_classification.read_names(str(path))


def test_few_shots_of_a_model(evaluator, siglip, data_dir, capsys):
  train = dict(name="digits/tiny", split="train[:40]", data_dir=data_dir)
  ask = lambda **more: evaluator("few_shot", "ocr", **{
      "train": train, "label": "ocr", "shots": (1, 2), "l2": (1., 64.), **more})
  one = ask(train={**train, "split": "val"})
  found = one.predict(siglip.params)
  assert "own: " in (said := capsys.readouterr().out) and "have fewer than 2 examples" in said
  scores = one.score(found)
  assert list(scores) == [f"own/accuracy/{s}shot_l2={l2}" for s in (1, 2) for l2 in (1, 64)]
  assert one.in_percent("accuracy/1shot_l2=64") and found[0]["prediction"].isdigit()
  with pytest.raises(ValueError, match="a class without examples among the train data"):
    ask().predict(siglip.params)
  with pytest.raises(ValueError, match="not a list of different numbers above 0"):
    ask(shots=(5, 5))
  with pytest.raises(MissingKey, match="has .* under 'digit'"):
    ask(label="digit").predict(siglip.params)


def test_a_run_beside_published_scores_on_eight_devices(siglip, data_dir, tmp_path):
  data = dict(name="digits/tiny", split="val", data_dir=data_dir)
  entry = lambda type, keep, **more: dict(
      type=type, data=data, batch_size=32, **more,
      pp=f"flatten|decode|resize|keep('image', {keep!r})")
  config = defaults.train(published={"find/img2txt_recall@1": 90.})
  config.model.img = dict(variant="tiny", image_size=32)
  config.model.txt = dict(variant="text_tiny", vocab_size=480)
  config.evals = dict(
      find=entry("retrieval", "captions/en", captions="captions/en"),
      shots=entry("few_shot", "ocr", train={**data, "split": "train"}, label="ocr", shots=(1,)))
  siglip.export(tmp_path / "w", "native")
  with pytest.raises(ValueError, match="a class without examples"):
    run.run(config, tmp_path / "w", tmp_path / "out")
  found = run.run(config, tmp_path / "w", tmp_path / "out", evals="find", limit=40)
  result = found["find/txt2img_recall@10"]
  low, high = result["interval"]
  assert low <= result["value"] <= high and result["n"] == 40 and result["total"] == 64
  assert "easier to find one among fewer" in result["warnings"][0]
  assert found["find/img2txt_recall@1"]["published"] == .9
  page = (tmp_path / "out" / "report.html").read_text()
  rows = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])["rows"]
  assert {len(row[name]) for row in rows for name in ("nearTexts", "nearImages")} == {5}


def test_models_and_examples_that_cannot_be_compared(evaluator, siglip):
  with pytest.raises(MissingKey, match="no 'captions'"):
    evaluator("retrieval", "ocr").predict(siglip.params)
  check = lambda captions: retrieval.check_example(
      {"id": "a", "captions": captions}, None, vectors.options(retrieval, {}))
  for captions, message in (([], "has no caption"), (["a", " "], "has an empty caption"),
                            ([3], "not a list of texts")):
    with pytest.raises(ValueError, match=message):
      check(captions)
  broken = {**siglip.params, "txt": {**siglip.params["txt"], "head": {
      k: v * np.nan for k, v in siglip.params["txt"]["head"].items()}}}
  with pytest.raises(ValueError, match="vectors that are not finite"):
    evaluator("retrieval", "captions/en", captions="captions/en").predict(broken)
  tower = VLM.from_config({"img": {"variant": "tiny"}}, mesh=siglip.mesh)
  with pytest.raises(ValueError, match="takes both towers of SigLIP, and this model is"):
    evaluator("retrieval", "ocr", model=tower)
  with pytest.raises(ValueError, match="not one of|Unknown spelling"):
    evaluator("retrieval", "ocr", spelling="upper")
  with pytest.raises(ValueError, match="has batch_size=0: give 1 or more"):
    evaluator("retrieval", "ocr", batch_size=0)
  with pytest.raises(ValueError, match=r"captions='text' is what a model reads.*copy\('text', "):
    evaluator("retrieval", "text", captions="text")
  assert few_shot.TOWERS == 1
