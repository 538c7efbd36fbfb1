import io
import logging
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pp.__main__ import table
from pp.builder import PreprocessError, get_preprocess_fn, random_ops, split_pipeline
from pp.registry import OPS, parse_call


def test_a_pipeline_runs_from_left_to_right():
  preprocess = get_preprocess_fn("strfmt('caption {lang}', outkey='prefix')|keep('prefix')")
  assert preprocess({"lang": "en", "_id": 7}) == {"prefix": "caption en", "_id": 7}


@pytest.mark.parametrize("pp", [None, "", "  ", "||", "\n | "])
def test_nothing_is_the_identity(pp):
  example = {"a": 1}
  result = get_preprocess_fn(pp)(example)
  assert result == example and result is not example


@pytest.mark.parametrize("pp, want", [
    (" decode | resize(224) |", ["decode", "resize(224)"]),
    ("a('x|y')|b(\"'|\")", ["a('x|y')", "b(\"'|\")"]),
    (r"a('it\'s|') | b", [r"a('it\'s|')", "b"]),
    (r"a('\\')|b", [r"a('\\')", "b"]),
    ("a([1, (2|3)])|b({'|': 1})", ["a([1, (2|3)])", "b({'|': 1})"]),
    ("a('(')|b('[{')", ["a('(')", "b('[{')"]),
    ("a(\n  1,\n)|\n b", ["a(\n  1,\n)", "b"]),
])
def test_sections_are_split_outside_quotes_and_brackets(pp, want):
  assert split_pipeline(pp) == want


@given(st.lists(st.text(), min_size=1))
def test_any_literal_survives_the_split(strings):
  calls = [f"strfmt({s!r})" for s in strings]
  assert split_pipeline("|".join(calls)) == calls


@pytest.mark.parametrize("pp, complaint", [
    ("a(1|b", "Unclosed '('"),
    ("a('x)|b", 'Unclosed "\'"'),
    ("a(1))|b", "Unmatched ')'"),
    ("a([1)]", "Unmatched ')'"),
    ("resise(224)", "Unknown pp op 'resise'. Did you mean 'resize'?"),
    ("resize(224, antialis=True)", "Did you mean 'antialias'? It takes resize(size"),
    ("resize(x)", "`x` is not a literal"),
])
def test_errors_when_building(pp, complaint):
  with pytest.raises(ValueError) as e:
    get_preprocess_fn(pp)
  assert complaint in str(e.value)


@pytest.fixture
def op(monkeypatch):
  """Registers a function example -> example as the op "probe", for one test."""
  return lambda fn: monkeypatch.setitem(OPS, "probe", lambda: fn)


def test_the_callers_example_is_untouched_even_by_an_op_that_writes(op):
  op(lambda example: example.update(a=2) or example)
  example = {"a": 1}
  assert get_preprocess_fn("probe|drop('a')")(example) == {} and example == {"a": 1}


@pytest.mark.parametrize("example, complaint", [
    ({"_id": 12, "imge": 1}, ("failed on example 12: the example has no key 'image'. "
                              "Did you mean 'imge'? Its keys: _id, imge.")),
    ({"id": "v1"}, "failed on example v1: the example has no key 'image'. Its keys: id."),
    ({"image": np.zeros(3)}, "pp op `reshape([])` failed: cannot reshape"),
])
def test_a_failing_op_names_itself_the_example_and_the_reason(example, complaint):
  with pytest.raises(PreprocessError) as e:
    get_preprocess_fn("drop('b') | reshape([])")(example)
  assert complaint in str(e.value)
  assert e.value.__cause__ is not None
  assert str(pickle.loads(pickle.dumps(e.value))) == str(e.value)  # workers send it home


def test_a_nested_key_points_at_flatten():
  with pytest.raises(PreprocessError, match="Put `flatten` before it"):
    get_preprocess_fn("majority(key='answers/text')")({"answers": {"text": ["a"]}})


def test_an_op_must_return_the_dict(op):
  op(lambda example: None)
  with pytest.raises(PreprocessError, match="`probe` failed: TypeError: it returned NoneType"):
    get_preprocess_fn("probe")({})


def test_log_data_once(caplog):
  caplog.set_level(logging.INFO)
  preprocess = get_preprocess_fn("value_range|drop('b')", log_data="train")
  for _ in range(2):
    preprocess({"image": np.zeros((2, 2, 3), np.uint8), "b": "x"})
  assert [r.getMessage() for r in caplog.records] == [
      "pp train: image uint8[2, 2, 3], b str -> image float32[2, 2, 3]"]


@pytest.mark.parametrize("pp, want", [
    ("", []),
    (None, []),
    ("decode|resize(224)|value_range|strfmt('a|b')|detect|decode_video(8)", []),
    ("decode|random_crop(8)|flip_lr|keep('image')", ["random_crop(8)", "flip_lr"]),
    ("choice(key='a')|choice_no_replacement(key='b')",
     ["choice(key='a')", "choice_no_replacement(key='b')"]),
    ("detect(order='random')|detect(order='raster')|segment(subset=True)",
     ["detect(order='random')", "segment(subset=True)"]),
    ("decode_video(8, random_offset=True)|box_crop(jitter=0.1)|box_crop(margin=0.1)",
     ["decode_video(8, random_offset=True)", "box_crop(jitter=0.1)"]),
])
def test_random_ops_are_known_before_any_data_is_read(pp, want):
  assert random_ops(pp) == want


RANDOM = ["choice(key='texts')", "choice_no_replacement(key='texts')", "inception_crop(4)",
          "random_crop(4)", "flip_lr", "resize_r(4)", "random_jpeg(0.5)", "zoomout", "randaug",
          "video_choice(inkey='texts', outkey='text')", "inception_box", "box_crop(jitter=0.1)",
          "sci_qa_choices_shuffle(choice_str_inkey='texts', ans_inkey='n')",
          "detect(boxes='boxes', labels='texts', order='random')",
          "detect(boxes='boxes', labels='texts', subset=True)",
          "detect(boxes='boxes', labels='texts', max_objects=3, noise='noise')",
          "decode_jpeg_and_inception_crop(4, key='jpeg')",
          "decode_video(1, key='frames', random_offset=True)",
          "pair_layout(\"sp('big_vlm/digits/tokenizer.model')\", 4, 0, 'texts', several='draw')"]


@pytest.mark.parametrize("pp", RANDOM)
def test_random_ops_draw_from_the_examples_generator_alone(pp):
  image = (np.random.default_rng(0).random((20, 30, 3)) * 255).astype(np.uint8)
  data = io.BytesIO()
  Image.fromarray(image).save(data, "JPEG")
  boxes = np.array([[0.1, 0.1, 0.5, 0.6], [0.2, 0.3, 0.7, 0.9]], np.float32)
  example = {"_id": 3, "image": image, "jpeg": data.getvalue(), "frames": [data.getvalue()] * 9,
             "texts": ["a", "b"], "n": 1, "boxes": boxes, "bbox": boxes[0]}
  assert random_ops(pp) == [pp]
  preprocess = get_preprocess_fn(pp)
  with pytest.raises(PreprocessError, match="_rng|_epoch"):
    preprocess(example)
  draw = lambda seed: {k: v for k, v in preprocess(
      {**example, "_rng": np.random.default_rng(seed), "_epoch": seed}).items() if k != "_rng"}
  seen = set()
  for seed in range(6):
    first, again = draw(seed), draw(seed)
    for key in first:
      np.testing.assert_array_equal(first[key], again[key])
    seen.add(pickle.dumps({k: v for k, v in first.items() if k != "_epoch"}))
  assert len(seen) > 1 or "frames" in pp  # whose frames here are all one


def test_every_random_op_is_in_the_list_above():
  listed = {parse_call(pp)[0] for pp in RANDOM} | {"segment"}  # which is detect's twin
  assert {name for name in OPS if OPS.may_be_random(name)} == listed


def test_the_table_of_ops():
  listing = subprocess.run([sys.executable, "-m", "pp"], capture_output=True, text=True).stdout
  assert "random random_crop(crop_size, *, key=None" in listing and "tokenize(" not in listing
  assert all(f"{name}(" in listing for name in OPS)
  assert "".join(table(["resize"])).count("antialias") > 1
  assert all(factory.__doc__ for factory in OPS.values())
