import io
import multiprocessing
import re
import subprocess
import sys

import numpy as np
import psutil
import pytest
from PIL import Image

from big_vlm.data.tfds import Tfds
from big_vlm.datasets import digits
from pp.tokenizer import get_tokenizer

CONFIGS = {c.name: c for c in digits.Digits.BUILDER_CONFIGS}


@pytest.fixture(scope="module", params=["tiny", "photos"])
def config(request):
  return CONFIGS[request.param]


@pytest.fixture(scope="module")
def scenes(config):
  return list(digits.scenes(config, "train", 200))


def test_splits_share_no_handwriting(data_dir):
  samples = {}
  for split in ("train", "val", "test"):
    examples = Tfds("digits/tiny", split=split, data_dir=data_dir)
    samples[split] = {s for i in range(len(examples)) for s in examples[i]["objects"]["sample"]}
  assert all(len(s) > 60 for s in samples.values())
  assert not samples["train"] & samples["val"] and not samples["train"] & samples["test"]
  assert not samples["val"] & samples["test"]
  parts = [set(range(1797)[part]) for part in digits.HANDWRITING.values()]
  assert sum(map(len, parts)) == len(set.union(*parts)) == 1797


def test_a_scene_is_a_function_of_split_and_number(config):
  def pixels(split, n):
    return [s["image"].tobytes() for s in digits.scenes(config, split, n)]
  assert pixels("val", 5) == pixels("val", 8)[:5]
  assert len({*pixels("train", 5), *pixels("val", 5), *pixels("test", 5)}) == 15


def test_processes_draw_the_same_scenes_in_the_same_order(monkeypatch):
  monkeypatch.setattr(digits, "CHUNK", 3)
  config = CONFIGS["tiny"]
  assert list(digits.examples(config, "val", 20, 2)) == list(digits.examples(config, "val", 20))
  assert not multiprocessing.active_children()
  drawn = digits.examples(config, "val", 10**6, 2)
  next(drawn)
  for worker in multiprocessing.active_children():
    worker.kill()
  with pytest.raises(OSError, match="A process that draws scenes was killed"):
    list(drawn)


def test_processes_end_with_the_one_that_is_killed():
  code = ("import multiprocessing as mp\nfrom big_vlm.datasets import digits\n"
          "config = digits.Digits.BUILDER_CONFIGS[0]\n"
          "for _ in digits.examples(config, 'train', 10**6, 2):\n"
          "  print(*[p.pid for p in mp.active_children()], flush=True)\n")
  drawing = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
  workers = [psutil.Process(int(pid)) for pid in drawing.stdout.readline().split()]
  drawing.kill()
  drawing.communicate()
  assert len(workers) == 2 and not psutil.wait_procs(workers, timeout=20)[1]


def test_prepared_scenes_are_these_scenes(data_dir):
  examples = Tfds("digits/tiny", split="val", data_dir=data_dir)
  for i, scene in enumerate(digits.scenes(CONFIGS["tiny"], "val", 5)):
    x = examples[i]
    np.testing.assert_array_equal(Image.open(io.BytesIO(x["image"])), scene["image"])
    np.testing.assert_array_equal(Image.open(io.BytesIO(x["instances"])), scene["instances"])
    np.testing.assert_allclose(x["objects"]["bbox"], [o["bbox"] for o in scene["objects"]])
    assert x["ocr"] == scene["ocr"] and x["captions"] == scene["captions"]
    assert list(x["questions"]) == scene["questions"] and list(x["answers"]) == scene["answers"]


def test_boxes_hold_their_instances_tightly(config, scenes):
  for scene in scenes:
    assert scene["image"].shape == (config.image, config.image, 3)
    assert set(np.unique(scene["instances"])) == set(range(len(scene["objects"]) + 1))
    for i, o in enumerate(scene["objects"], 1):
      y0, x0, y1, x1 = np.array(o["bbox"]) * config.image
      assert 0 <= y0 < y1 <= config.image and 0 <= x0 < x1 <= config.image
      assert config.height[0] <= y1 - y0 <= config.height[1]
      ys, xs = np.nonzero(scene["instances"] == i)
      slack = np.array([ys.min() - y0, xs.min() - x0, y1 - ys.max() - 1, x1 - xs.max() - 1])
      assert (slack >= 0).all() and (slack <= 2).all(), slack
      assert len(ys) >= 0.2 * (y1 - y0) * (x1 - x0)  # ink, not dust


def test_ink_stands_out_from_its_ground(scenes):
  contrasts = []
  for scene in scenes:
    gray = scene["image"].astype(float).mean(-1)
    ground = np.median(gray[scene["instances"] == 0])
    contrasts += [abs(np.percentile(gray[scene["instances"] == i], 75) - ground)
                  for i in range(1, len(scene["objects"]) + 1)]
  assert np.median(contrasts) > 90


def test_digits_are_listed_from_left_to_right(config, scenes):
  counts = set()
  for scene in scenes:
    lefts = [o["bbox"].xmin for o in scene["objects"]]
    assert lefts == sorted(lefts)
    assert scene["ocr"] == "".join(str(o["label"]) for o in scene["objects"])
    counts.add(len(lefts))
  assert counts == set(range(1, config.digits + 1))


@pytest.mark.parametrize("labels, captions", [
    ([7], dict(en="one digit: 7", de="eine Ziffer: 7", fr="un chiffre : 7", es="una cifra: 7",
               it="una cifra: 7", pt="um algarismo: 7", zh="一个数字：7")),
    ([3, 3], dict(en="two digits: 3 and 3", de="zwei Ziffern: 3 und 3", fr="deux chiffres : 3 et 3",
                  es="dos cifras: 3 y 3", it="due cifre: 3 e 3", pt="dois algarismos: 3 e 3",
                  zh="两个数字：3和3")),
    ([3, 7, 1], dict(en="three digits: 3, 7 and 1", de="drei Ziffern: 3, 7 und 1",
                     fr="trois chiffres : 3, 7 et 1", es="tres cifras: 3, 7 y 1",
                     it="tre cifre: 3, 7 e 1", pt="três algarismos: 3, 7 e 1",
                     zh="三个数字：3、7和1")),
    ([1, 2, 3, 4, 5], dict(en="five digits: 1, 2, 3, 4 and 5", zh="五个数字：1、2、3、4和5")),
])
def test_captions(labels, captions):
  assert {lang: digits.caption(lang, labels) for lang in captions} == captions
  assert set(captions) <= set(digits.LANGUAGES)


def test_texts_of_pairs_say_what_is_where():
  """And no two of the test split are the same, so that retrieval has one right answer."""
  scenes = list(digits.scenes(CONFIGS["pairs"], "test", 500))
  assert len({scene["text"] for scene in scenes}) == 500
  for scene in scenes[:50]:
    named = scene["text"].split(", ")
    assert len(named) == len(scene["objects"]) in (2, 3, 4)
    for i, (name, o) in enumerate(zip(named, scene["objects"]), 1):
      colour, digit, line, side = name.split()
      assert int(digit) == o["label"]
      assert (line == "top") == (o["bbox"].ymin < .5) and (side == "left") == (o["bbox"].xmin < .5)
      ink = np.percentile(scene["image"][scene["instances"] == i], 95, axis=0)
      far = {c: np.abs(ink - rgb).sum() for c, rgb in digits.COLOURS.items()}
      assert min(far, key=far.get) == colour


def right_answer(question, ocr):
  """What the question's words ask of the digits from left to right, e.g. "371"."""
  *_, last = re.findall(r"\d", question) or [None]
  at = ocr.find(last or "?")
  neighbour = {"left": ocr[at - 1:at] if at else "", "right": ocr[at + 1:at + 2]}
  answers = {
      "how many digits are there?": str(len(ocr)),
      "what is the largest digit?": max(ocr),
      "what is the smallest digit?": min(ocr),
      f"is there a {last}?": "yes" if at >= 0 else "no",
      f"how many times is there a {last}?": str(ocr.count(last or "?")),
      f"what is left of the {last}?": neighbour["left"] or "nothing",
      f"what is right of the {last}?": neighbour["right"] or "nothing"}
  return answers[question]


def test_every_answer_is_right(scenes):
  asked = set()
  for scene in scenes:
    for question, answer in zip(scene["questions"], scene["answers"], strict=True):
      assert answer == right_answer(question, scene["ocr"]), (question, scene["ocr"])
      if " of the " in question:  # else it would name two digits
        assert scene["ocr"].count(question[-2]) == 1
      asked.add(re.sub(r"\d", "#", question))
  assert len(asked) == 7


def test_the_place_of_an_answer_does_not_give_it_away(scenes):
  assert len({scene["questions"][0] for scene in scenes}) > 10


def test_the_tokenizer(tokenizer, data_dir):
  tok = get_tokenizer(tokenizer)
  assert tok.vocab_size == digits.VOCABULARY + 1024 + 128
  for digit in "0123456789":  # one piece each, wherever it stands
    (piece,) = set(tok.to_int(digit))
    assert tok.to_int(digit * 3) == [piece] * 3
    assert tok.to_int(f"x{digit}")[-1] == piece
  assert tok.to_int("<loc0000><loc1023><seg000><seg127>") == [480, 1503, 1504, 1631]
  x = Tfds("digits/tiny", split="test", data_dir=data_dir)[0]
  for text in [*x["captions"].values(), *x["questions"], "\n", "never seen: Ω🙂"]:
    assert tok.to_str(tok.to_int(text)) == text
