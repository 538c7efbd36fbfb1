import pathlib

import numpy as np
import pytest

from pp.builder import get_preprocess_fn
from pp.tokenizer import get_tokenizer, train_sentencepiece


@pytest.fixture(scope="module")
def model(tmp_path_factory):
  path = tmp_path_factory.mktemp("tok") / "toy.model"
  train_sentencepiece(["a cat", "a dog", "what is it?\ncat"] * 4, path, 300)
  return f"sp({str(path)!r})"


@pytest.fixture
def run(model):
  """Runs a pipeline in which MODEL stands for the toy tokenizer's name."""
  return lambda pp, **example: get_preprocess_fn(pp.replace("MODEL", repr(model)))(example)


@pytest.mark.parametrize("template, example, want", [
    ("caption {lang}", {"lang": "en"}, "caption en"),
    ("{a/b}|{c}", {"a/b": b"caf\xc3\xa9", "c": "{x}"}, "café|{x}"),
    ("{{a}} {}.", {}, "{a} ."),
    ("{a}", {"a": 3}, "3"),
    ("{a}", {"a": np.int64(3)}, "3"),
    ("{a}", {"a": 2.0}, "2"),
    ("{a}", {"a": np.float32(0.1)}, "0.1"),
    ("{a}", {"a": np.array([1.5, 2])}, "[1.5 2]"),
    ("{a}", {"a": np.array([[1, 2], [3, 4]])}, "[[1 2] [3 4]]"),
    ("{a}", {"a": np.array("x", object)}, "x"),
    ("line\n", {}, "line\n"),
])
def test_strfmt(run, template, example, want):
  assert run(f"strfmt({template!r})", **example) == {**example, "text": want}


@pytest.mark.parametrize("template, example, complaint", [
    ("{a:02d}", {}, "format or conversion"),
    ("{a!r}", {}, "format or conversion"),
    ("{question}", {"questoin": 1}, "no key 'question'. Did you mean 'questoin'"),
    ("{a}", {"a": ["x", "y"]}, "not a list of strings"),
    ("{a} {b}", {"a": 1, "b": None}, "'b' is None, neither a text nor a number; where"),
    ("{a}", {"a": float("nan")}, "'a' is nan, neither"),
    ("{a}", {"a": {"text": "x"}}, "'a' is {'text': 'x'}, neither"),
])
def test_strfmt_errors(run, template, example, complaint):
  with pytest.raises(ValueError, match=complaint):
    run(f"strfmt({template!r}, outkey='p')", **example)


@pytest.mark.parametrize("value, want", [
    ("ABC Ä É", "abc Ä É"),
    (b"ABC", "abc"),
    (["A", "b"], ["a", "b"]),
])
def test_lower_is_ascii_only(run, value, want):
  assert run("lower", text=value)["text"] == want


def test_lower_of_an_array(run):
  got = run("lower(inkey='a', outkey='b')", a=np.array([b"X", b"yZ"], object))["b"]
  np.testing.assert_array_equal(got, ["x", "yz"])


@pytest.mark.parametrize("args, value, want", [
    ("', '", ["a", b"b", "c"], "a, b, c"),
    ("', '", [], ""),
    ("'', key='image'", np.array([["a", "b"], ["c", "d"]]), "abcd"),
])
def test_strjoin(run, args, value, want):
  assert run(f"strjoin({args})", image=value)["image"] == want


@pytest.mark.parametrize("axis, want", [(0, ["a-c", "b-d"]), (1, ["a-b", "c-d"]),
                                        (-1, ["a-b", "c-d"])])
def test_strjoin_along_an_axis(run, axis, want):
  got = run(f"strjoin('-', axis={axis}, key='x')", x=np.array([["a", "b"], ["c", "d"]]))["x"]
  np.testing.assert_array_equal(got, want)


BOS, EOS, PAD = 2, 1, 0


@pytest.mark.parametrize("args, want", [
    ("", "abc"),
    ("bos='yes', eos='yes'", [BOS, "abc", EOS]),
    ("bos='yes', eos='yes', length=3", [BOS, "ab"]),  # the eos is cut off
    ("eos='sticky', length=3", ["ab", EOS]),
    ("eos='yes', length=3", ["abc"]),
    ("eos='yes', length=6", ["abc", EOS, PAD, PAD]),
    ("eos='sticky', length=6", ["abc", EOS, PAD, PAD]),
])
def test_tok_bos_eos_and_length(run, model, args, want):
  letters = dict(zip("abc", get_tokenizer(model).to_int("012")))  # bytes: one id each
  want = [letters.get(x, x) for part in want for x in (part if isinstance(part, str) else [part])]
  got = run(f"tok(MODEL, {args}, key='x')".replace(", ,", ","), x=b"012")["x"]
  np.testing.assert_array_equal(got, want)
  assert got.dtype == np.int32


def test_tok_of_a_constant(run, model):
  newline = get_tokenizer(model).to_int("\n")
  for key in ("key", "outkey"):
    got = run(f"tok(MODEL, text='\\n', {key}='sep')")["sep"]
    np.testing.assert_array_equal(got, newline)
  assert len(newline) == 1 and not got.flags.writeable


@pytest.mark.parametrize("args, complaint", [
    ("", "tok needs key="),
    ("inkey='a'", "tok needs key="),
    ("text='a'", "tok needs key="),
    ("text='a', inkey='b', outkey='c'", "replaces inkey='b'"),
    ("key='a', bos='sticky'", "bos='sticky' is not one of 'no', 'yes'"),
    ("key='a', eos=True", "eos=True is not one of"),
    ("key='a'", "expected one string, got list"),
])
def test_tok_errors(run, args, complaint):
  with pytest.raises(ValueError, match=complaint):
    run(f"tok(MODEL, {args})", a=["x"])


@pytest.mark.parametrize("args, want", [
    ("5, pad_value=9", [1, 2, 3, 9, 9]),
    ("2, pad_value=9", [1, 2]),
    ("2, pad_value=9, sticky_end=True", [1, 3]),
    ("1, pad_value=9, sticky_end=True", [3]),
    ("None", [1, 2, 3]),
    ("0", [1, 2, 3]),
    ("4, pad_key='p'", [1, 2, 3, 7]),
    ("4, pad_key='q'", [1, 2, 3, 8]),
])
def test_tolen(run, args, want):
  x = np.array([1, 2, 3], np.int32)
  got = run(f"tolen({args}, inkey='x', outkey='y')", x=x, p=7, q=np.array([8, 0]))["y"]
  np.testing.assert_array_equal(got, want)
  assert got.dtype == np.int32


@pytest.mark.parametrize("pp, complaint", [
    ("tolen(3, pad_value=0)", "needs key="),
    ("tolen(3, key='x')", "needs pad_value="),
    ("tolen(3, pad_value=0, key='x')", r"an array \[T\] at 'x', got shape \(\)"),
    ("masked_concat(['a', 'b'], mask=[0])", "mask has 1 values for 2 keys"),
])
def test_tolen_and_masked_concat_errors(run, pp, complaint):
  with pytest.raises(ValueError, match=complaint):
    run(pp, x="text")


def test_the_sequence_of_a_vlm(run):
  got = run("""
      tok(MODEL, key='prefix', bos='yes') | tok(MODEL, key='sep', text='\\n') |
      tok(MODEL, key='suffix', eos='yes') |
      masked_concat(['prefix', 'sep', 'suffix'], mask_ar=[0, 0, 1], prefix=[1, 0, 0]) |
      tolen(9, pad_value=0, key='text') | tolen(9, pad_value=1, key='mask_ar')""",
      prefix="01", suffix="234")
  #                bos 0  1 \n  2  3  4 eos pad
  want_ar, want_p = [0, 0, 0, 0, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0, 0, 0]
  np.testing.assert_array_equal(got["mask_ar"], want_ar)
  np.testing.assert_array_equal(got["prefix"], want_p)  # a mask may reuse the name of a key
  assert got["text"].shape == (9,)
  assert got["text"][0] == BOS and got["text"][7] == EOS and got["text"][8] == PAD
  assert {got[k].dtype for k in ("text", "mask_ar", "prefix")} == {np.dtype(np.int32)}


def test_coco_captions():
  got = get_preprocess_fn("coco_captions")({"captions": {"text": ["a", "b"], "id": [1, 2]}})
  assert got["captions"] == ["a", "b"]


DIGITS = f"sp('{pathlib.Path(__file__).parents[1]}/big_vlm/digits/tokenizer.model', " \
         "tokensets=('loc', 'seg'))"


def test_locations_of_noise_are_not_learnt():
  """ " a" is one token of this tokenizer, and " x a" are a label's three."""
  suffix = " ; ".join(f"<loc{i:04d}>" * 4 + f" {name}" for i, name in enumerate(["x a", "a", "3"]))
  rows = [get_preprocess_fn(f"text_layout({DIGITS!r}, 60{more})")({"prefix": "", "suffix": suffix})
          for more in ("", ", noise='a'")]
  off = np.flatnonzero(rows[0]["mask_loss"] != rows[1]["mask_loss"])
  assert get_tokenizer(DIGITS).to_str(rows[0]["text"][off]) == "<loc0001>" * 4
  assert rows[1]["mask_loss"].sum() == rows[0]["mask_loss"].sum() - 4
  for name, what in (("x", "2 tokens"), ("noise", "4 tokens")):
    with pytest.raises(ValueError, match=f"noise='{name}' is {what} behind a location"):
      get_preprocess_fn(f"text_layout({DIGITS!r}, 60, noise='{name}')")
