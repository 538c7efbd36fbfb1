import io
import pathlib

import numpy as np
import pytest
from PIL import Image

from pp import mask_codes
from pp.builder import get_preprocess_fn
from pp.locations import parse_objects

GOLDEN = pathlib.Path(__file__).parents[1] / "tests/golden/vqvae.npz"
EXAMPLE = {
    "objects/bbox": np.array([[.5, .5, 1, 1], [0, .5, .5, 1], [0, 0, .5, .5]], np.float32),
    "objects/label": np.array([7, 3, 7]),
}


def run(pp, example, seed=None):
  rng = {} if seed is None else {"_rng": np.random.default_rng(seed)}
  result = get_preprocess_fn(pp)({**example, **rng})
  return result["prefix"], result["suffix"]


def test_detect():
  prefix, suffix = run("detect", EXAMPLE)
  assert prefix == "detect 7 ; 3"
  assert suffix == ("<loc0512><loc0512><loc1023><loc1023> 7 ; "
                    "<loc0000><loc0512><loc0512><loc1023> 3 ; "
                    "<loc0000><loc0000><loc0512><loc0512> 7")


@pytest.mark.parametrize("labels", [["a cat", "dog", "a cat"], [b"a cat", b"dog", b"a cat"],
                                    np.array([b"a cat", b"dog", b"a cat"], object)])
def test_labels_may_be_strings_or_bytes(labels):
  prefix, suffix = run("detect(labels='names')", {**EXAMPLE, "names": labels})
  assert prefix == "detect a cat ; dog"
  assert [o.label for o in parse_objects(suffix)] == ["a cat", "dog", "a cat"]


def test_the_most_objects():
  prefix, suffix = run("detect(order='raster', max_objects=2)", EXAMPLE)
  assert corners(suffix) == [(0, 0), (0, .5)] and prefix == "detect 7 ; 3"
  prefix, suffix = run("detect(order='given', max_objects=1)", EXAMPLE)
  assert corners(suffix) == [(.5, .5)] and prefix == "detect 7"  # of what is left
  got = {frozenset(corners(run("detect(order='random', max_objects=2)", EXAMPLE, seed)[1]))
         for seed in range(40)}
  assert len(got) == 3 and {len(g) for g in got} == {2}


def test_a_fixed_prompt():
  prefix, suffix = run("detect(prompt='detect all classes')", EXAMPLE)
  assert prefix == "detect all classes" and len(parse_objects(suffix)) == 3


def corners(suffix):
  return [(round(2 * o.box[0]) / 2, round(2 * o.box[1]) / 2) for o in parse_objects(suffix)]


def test_raster_order_is_from_the_top_then_from_the_left():
  prefix, suffix = run("detect(order='raster')", EXAMPLE)
  assert corners(suffix) == [(0, 0), (0, .5), (.5, .5)]
  assert prefix == "detect 7 ; 3"  # the question does not give the order away


def test_random_order_reaches_every_order():
  got = {tuple(corners(run("detect(order='random')", EXAMPLE, seed)[1])) for seed in range(60)}
  assert len(got) == 6


def test_subset_asks_for_some_labels_and_answers_them_only():
  got = {run("detect(subset=True)", EXAMPLE, seed)[0] for seed in range(40)}
  assert got == {"detect 7", "detect 3", "detect 7 ; 3"}
  for seed in range(10):
    prefix, suffix = run("detect(subset=True, order='random')", EXAMPLE, seed)
    asked = prefix.removeprefix("detect ").split(" ; ")
    labels = [o.label for o in parse_objects(suffix)]
    assert sorted(labels) == sorted(x for x in ("7", "3", "7") if x in asked)


@pytest.mark.parametrize("pp", ["detect", "detect(order='raster')", "detect(subset=True)"])
def test_no_objects(pp):
  for boxes in (np.zeros((0, 4)), []):
    assert run(pp, {"objects/bbox": boxes, "objects/label": []}, 0) == ("detect", "")


@pytest.mark.parametrize("pp, example, complaint", [
    ("detect(order='size')", {}, "order='size' is not one of given, raster, random"),
    ("detect(order='random')", EXAMPLE, "must not be random"),
    ("detect(subset=True)", EXAMPLE, "must not be random"),
    ("detect", {**EXAMPLE, "objects/label": [1]}, "has 3 boxes, 'objects/label' 1 labels"),
    ("detect", {"objects": {}}, "Put `flatten` before it"),
])
def test_errors(pp, example, complaint):
  with pytest.raises(ValueError, match=complaint):
    run(pp, example)


@pytest.fixture
def model(tmp_path):
  """A path of the small VQ-VAE that tests/golden/make_vqvae.py wrote, in the file's own form."""
  with np.load(GOLDEN) as golden:
    np.savez(tmp_path / "vae.npz", **{k.removeprefix("params/"): golden[k] for k in golden.files
                                      if k.startswith("params/")})
  return str(tmp_path / "vae.npz")


def masks():
  """Three masks [40,60], each filled within its box of EXAMPLE."""
  result = np.zeros((3, 40, 60), np.uint8)
  for mask, (top, left, bottom, right) in zip(result, EXAMPLE["objects/bbox"]):
    mask[int(40 * top):int(40 * bottom), int(60 * left):int(60 * right) - 9] = 255
  return result


def png(mask):
  data = io.BytesIO()
  Image.fromarray(mask).save(data, "PNG")
  return data.getvalue()


def test_segment(model):
  example = {**EXAMPLE, "objects/mask": masks()}
  prefix, suffix = run(f"segment(model={model!r})", example)
  assert prefix == "segment 7 ; 3"
  assert [o.label for o in parse_objects(suffix)] == ["7", "3", "7"]
  params = mask_codes.load(model)
  for found, mask, box in zip(parse_objects(suffix), masks(), EXAMPLE["objects/bbox"]):
    assert list(found.seg) == mask_codes.mask_to_codes(params, mask, box)
  assert " ; <loc0000><loc0512>" in suffix and "><seg" in suffix and "> 7 ; " in suffix
  for other in (list(masks()), [png(m) for m in masks()], masks()[..., None], masks() > 0):
    assert run(f"segment(model={model!r})", {**EXAMPLE, "objects/mask": other})[1] == suffix
  prefix, suffix = run(f"segment(model={model!r}, order='raster', max_objects=1)", example)
  assert prefix == "segment 7" and corners(suffix) == [(0, 0)]


def test_codes_are_of_what_is_within_the_box(model):
  params = mask_codes.load(model)
  mask, box = masks()[0], EXAMPLE["objects/bbox"][0]
  moved = np.roll(mask, (-20, -30), (0, 1))
  assert mask_codes.mask_to_codes(params, moved, (0, 0, .5, .5)) == mask_codes.mask_to_codes(
      params, mask, box)
  for none in [(.5, .5, .5, .5), (1, 1, 1, 1), (0, 0, 0, 0), (-2, -2, -1, -1), (1, 1, 2, 2)]:
    assert len(mask_codes.mask_to_codes(params, mask, none)) == 16


def test_caption_box():
  example = {"bbox": [0.1, 0.25, 0.5, 0.75], "caption": b"a cat"}
  want = ("caption <loc0102><loc0256><loc0512><loc0767>", "a cat")
  assert run("caption_box", example) == want
  prefix, _ = run("caption_box(verb='describe en')", example)
  assert prefix == "describe en" + want[0].removeprefix("caption")
  with pytest.raises(ValueError, match="must be one box .* pick"):
    run("caption_box", {**example, "bbox": np.zeros((2, 4))})


@pytest.mark.parametrize("pp, complaint", [
    ("detect(max_objects=0)", "max_objects=0 is not positive"),
    ("detect(subset=True, prompt='x')", "fixed prompt cannot name"),
    ("segment(model='nowhere.npz')", "Cannot read the mask model 'nowhere.npz'"),
    ("refcoco_mask2str", "download it from gs://big_vision/paligemma/vae-oid.npz"),
])
def test_errors_when_building(pp, complaint, monkeypatch):
  monkeypatch.delenv(mask_codes.MODEL, raising=False)
  with pytest.raises((ValueError, FileNotFoundError), match=complaint):
    get_preprocess_fn(pp)


def test_a_file_that_is_no_mask_model(tmp_path):
  np.savez(tmp_path / "other.npz", head=np.zeros(3))
  (tmp_path / "text.npz").write_text("hello")
  with pytest.raises(ValueError, match="does not hold the VQ-VAE of masks: missing encoder.0.wei"):
    mask_codes.load(tmp_path / "other.npz")
  with pytest.raises(ValueError, match="text.npz"):
    mask_codes.load(tmp_path / "text.npz")


@pytest.mark.parametrize("changes, complaint", [
    ({"objects/mask": masks()[:2]}, "has 2 masks for 3 objects"),
    ({"objects/mask": masks().astype(np.float32)}, "a mask is uint8"),
    ({"objects/mask": [b"png"] * 3}, "cannot decode image: 3 bytes"),
])
def test_segment_refuses(changes, complaint, model):
  with pytest.raises(ValueError, match=complaint):
    run(f"segment(model={model!r})", {**EXAMPLE, **changes})


def test_noise_fills_an_answer_with_boxes_where_nothing_is():
  pp = "detect(order='raster', max_objects=5, prompt='detect all classes', noise='noise')"
  found = parse_objects(run(pp, EXAMPLE, seed=1)[1])
  assert [o.label for o in found] == ["7", "3", "7", "noise", "noise"]
  assert all(o.box[0] <= o.box[2] and o.box[1] <= o.box[3] for o in found)
  assert found[3:] != parse_objects(run(pp, EXAMPLE, seed=2)[1])[3:]
  none = {"objects/bbox": np.zeros((0, 4)), "objects/label": []}
  assert [o.label for o in parse_objects(run(pp, none, seed=1)[1])] == ["noise"] * 5
  assert len(parse_objects(run(pp.replace("5", "2"), EXAMPLE, seed=1)[1])) == 2  # as without


@pytest.mark.parametrize("pp, complaint", [
    ("detect(noise='noise')", "'noise' fills the answer up to max_objects= or tokens_each=: give"),
    ("detect(noise='a;b', max_objects=3)", "'a;b' holds ';'"),
    ("detect(noise='7', max_objects=3)", "label is or begins with that of noise, '7'"),
])
def test_noise_that_cannot_be(pp, complaint):
  with pytest.raises(ValueError, match=complaint):
    run(pp, EXAMPLE, seed=1)
